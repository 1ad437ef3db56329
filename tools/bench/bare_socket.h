// What a line carries without Vesper: plain TCP on this machine, the same bytes, in the same run.
#pragma once

#include "tools/bench/report.h"

namespace vesper::tools::bench {

// Medians of a few tries. Throws std::runtime_error.
BareSocket MeasureBareSocket(const Line& line, bool quick);

}  // namespace vesper::tools::bench
