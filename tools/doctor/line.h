// How fast the line to a server is, and what programs have to expect of it.
#pragma once

#include <string>
#include <vector>

#include "runtime/channel.h"

namespace vesper::tools {

struct LineSpeed {
  double round_trip = 0;  // seconds, median
  double rate = 0;        // bytes a second to the server, of bytes that do not become smaller by packing
};

// Asks the server of a channel that has been greeted for signs of life. False when it goes away meanwhile.
bool MeasureLine(Channel& channel, LineSpeed* speed);

// Sentences.
std::vector<std::string> WhatToExpect(const LineSpeed& speed);
// "0.05 ms a round trip, 2.1 GB/s"
std::string Describe(const LineSpeed& speed);

}  // namespace vesper::tools
