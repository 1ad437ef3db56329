// `vesper doctor --window` and `vesper bench --window`: what a window shows that a server draws, in processes of their own
// (worker.h).
#pragma once

#include <string>

#include "tools/bench/bench.h"

namespace vesper::tools::window {

// Shows a window for so long, or until the user closes it, with what the server at that address (with its secrets) draws. What
// was found, a line each; throws std::runtime_error with why there was nothing.
struct Found {
  std::string device, path;
  double frames_per_second = 0, latency_ms = -1, kilobytes_per_frame = 0;
};
Found ShowWindow(const std::string& address, double seconds);

// Prints, natively and through servers over a Unix socket and TCP (or that which the options say): frames a second as fast as they
// go, the time to the first one, what a frame costs. The exit status.
int BenchWindow(const BenchOptions& options);

}  // namespace vesper::tools::window
