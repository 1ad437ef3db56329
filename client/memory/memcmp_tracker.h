// Finds changes by comparing shadow and twin: needs nothing of the system, and reads everything at every trigger.
#pragma once

#include <memory>

#include "client/memory/tracker.h"

namespace vesper::client {

// nullptr when memory is exhausted.
std::unique_ptr<Tracker> MakeMemcmpTracker(uint64_t size) noexcept;

}  // namespace vesper::client
