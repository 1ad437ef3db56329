// `vesper bench`: what Vesper costs, beside the local driver.
#pragma once

#include <optional>
#include <string>

namespace vesper::tools {

struct BenchOptions {
  std::string server;         // an address; empty: a server of its own
  std::string rows = "*";     // bench::Matches()
  std::string transport;      // ring, socket or tcp; empty: as ever
  std::string native_driver;  // a manifest; empty: the loader's choice
  std::string json, svg;      // files to write
  double delay_ms = 0, rate_mbit = 0;
  std::string size = "500x500";  // of the window
  bool window = false;             // frames in a window, instead of rows
  bool quick = false, matrix = false, list = false;
};

// The exit status: 0 when every row ran on both sides (on the server's, where there is no local driver) and moved what it should.
int Bench(const BenchOptions& options);

// What Bench() runs again and again in processes of their own.
int BenchRows();

}  // namespace vesper::tools
