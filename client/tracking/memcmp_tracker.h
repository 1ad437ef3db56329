// Finds changes by comparing shadow and twin: needs nothing of the system, and reads both wholly at every trigger.
#pragma once

#include "client/tracking/tracker.h"

namespace vesper::client {

class MemcmpTracker final : public Tracker {
 public:
  using Tracker::Tracker;

 protected:
  void CollectRange(uint64_t offset, uint64_t size, const Search& /*search*/, ChangeSink sink) override {
    Compare(offset, size, sink);
  }
};

}  // namespace vesper::client
