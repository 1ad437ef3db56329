// What `vesper bench` found, and how it is told: as a table, as JSON, as a drawing.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/bench/samples.h"
#include "tools/bench/unit.h"

namespace vesper::tools::bench {

// What the client counted for one operation.
struct PerOperation {
  double trips = 0, waits = 0, sent = 0, received = 0;
};

struct Result {
  std::string name;
  Unit unit = Unit::kMicroseconds;
  // Without a value: that side could not; why stands in `failure`.
  std::optional<Summary> native = {}, vesper = {};
  std::optional<PerOperation> counts = {};
  std::string failure = {};

  std::optional<double> Ratio() const;  // vesper / native, in the unit
};

// A line between client and server.
struct Line {
  double delay_ms = 0;   // of a round trip
  double rate_mbit = 0;  // 0: no limit
  bool is_proxied() const { return delay_ms != 0 || rate_mbit != 0; }
  std::string Name() const;  // "1 ms, 100 Mbit/s"
};

// What the same line does for plain TCP.
struct BareSocket {
  double megabytes = 0;  // a second
  double trip_us = 0;
};

struct Report {
  Line line;
  std::string address, transport, native_device, vesper_device;
  std::optional<double> wake_us;
  std::optional<BareSocket> socket = {};  // where messages travel by TCP
  std::vector<Result> results;
};

std::string TableHead();
std::string TableLine(const Result& result);
// The line of a report that says where it was made.
std::string Heading(const Report& report);
// One column for each line, of reports with the same rows.
std::string MatrixTable(const std::vector<Report>& reports);
std::string ToJson(const std::vector<Report>& reports);
// How much slower or faster each row is through Vesper, on a logarithmic scale, a colour for each report.
std::string ToSvg(const std::vector<Report>& reports);

}  // namespace vesper::tools::bench
