// The process's one userfaultfd and what goes with it: all trackers share three file descriptors. Used by uffd_tracker.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "client/base/function_ref.h"

namespace vesper::client {

// Opens it once per process; false with a reason when the kernel or the container denies a part of it.
bool OpenUffd(std::string* why);
// Whether writes to the range are recorded from now on. Page-aligned; ends with the mapping.
bool WatchWrites(const void* begin, size_t size);
// Calls `written` for each run of pages written since the last time, each page re-armed before that: what is written after
// this call is found by the next. False when the kernel refused, after which nothing is known.
bool TakeWrittenPages(const uint8_t* begin, size_t size, FunctionRef<void(size_t offset, size_t size)> written);
// What a first write to each page of the range would do, at once: they count as written, and writing them costs no fault. False
// when the kernel refused, and nothing is different.
bool AllowWrites(const uint8_t* begin, size_t size);
// Whether the process has memory pinned for long, as io_uring's fixed buffers are: such pages are written unseen. Asks the
// kernel at most every 100 µs.
bool HasPinnedMemory();
// In the child of a fork: the descriptors speak of the parent's memory.
void ForgetUffdAfterFork() noexcept;

}  // namespace vesper::client
