// Command buffers of a device that are being recorded, and what was destroyed meanwhile that drivers read only while commands
// are recorded, as a pipeline layout. Records wait in the client until their command buffer ends or has many, and must not be
// overtaken by such a destruction: programs that destroy too early run on drivers that have read the object by then.
#pragma once

#include <cstdint>
#include <list>
#include <vector>

#include "runtime/mutex.h"
#include "runtime/object_id.h"

namespace vesper::client {

// The record of a command that destroys an object.
struct Destruction {
  ObjectId object = kNullObject;
  std::vector<uint8_t> record;
  uint64_t after = 0;  // used by Recordings: the last command buffer that it waits for
};

// Owned by the device. Thread-safe: the lock is held for bookkeeping only, and no other is taken under it. A destruction waits
// for those command buffers that were being recorded when it was called, and for no others.
class Recordings {
 public:
  Recordings() = default;
  Recordings(const Recordings&) = delete;
  Recordings& operator=(const Recordings&) = delete;

  // A command buffer begins. Returns the number that End() takes, or 0 when memory is exhausted: then no destruction waits
  // for this command buffer.
  uint64_t Begin() noexcept;
  // The records of that command buffer were sent or dropped. Returns the destructions that the caller has to send now. Does
  // nothing for 0.
  std::list<Destruction> End(uint64_t number) noexcept;
  // Whether anything is being recorded.
  bool any() noexcept;
  // Keeps the destruction until all that is being recorded now has ended. False when nothing is, or memory is exhausted.
  bool Defer(Destruction destruction) noexcept;
  // The device is being destroyed: returns the destructions that were not sent.
  std::list<Destruction> Drop() noexcept;

 private:
  Mutex mutex_;
  uint64_t last_ VESPER_GUARDED_BY(mutex_) = 0;
  std::vector<uint64_t> open_ VESPER_GUARDED_BY(mutex_);      // ascending
  std::list<Destruction> waiting_ VESPER_GUARDED_BY(mutex_);  // in the order of calls
};

}  // namespace vesper::client
