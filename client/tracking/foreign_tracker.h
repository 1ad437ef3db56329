// A tracker over memory of the application's own (VkImportMemoryHostPointerInfoEXT): its pages are the shadow. They are read
// and written by system calls and never protected, so that pages without access, which programs may have there at any time,
// are no fault of theirs.
#pragma once

#include <cstdint>
#include <memory>

#include "client/tracking/tracker.h"

namespace vesper::client {

// `data` stays the application's and outlives the tracker. What cannot be read is unchanged; what cannot be written keeps
// its bytes. nullptr when memory is exhausted.
std::unique_ptr<Tracker> MakeForeignTracker(uint8_t* data, uint64_t size) noexcept;

}  // namespace vesper::client
