// Fences and semaphores as the client knows them. Submits are counted per queue; the server pushes how far each queue has
// completed; everything that a submit signals is then known without asking. All state here is guarded by the lane of the
// session's connection. A fence's or value's epoch is the (queue, serial) pair: a reset or a new submit replaces it, and a
// completion of an older submit then says nothing about it.
#pragma once

#include <vulkan/vulkan.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "client/base/ids.h"
#include "client/base/limits.h"
#include "client/connection/connection.h"
#include "client/objects/object.h"

namespace vesper::client {

// A point of a queue's work.
struct SubmitPoint {
  const Queue* queue = nullptr;
  uint64_t serial = 0;
  bool Reached() const { return queue != nullptr && queue->completed >= serial; }
};

struct FenceState : ObjectState {
  FenceState(ObjectId id, bool is_signalled, bool is_plain)
      : ObjectState(id), plain(is_plain), signalled(is_signalled) {}
  const bool plain;    // nobody else can wait for it
  bool signalled;      // from its creation on
  SubmitPoint signal;  // the submit that signals it, if any

  bool IsSignalled() const { return signalled || signal.Reached(); }
  void Reset() {
    signalled = false;
    signal = {};
  }
};

// A timeline semaphore. Binary semaphores have no state that the host may see, so nothing is kept for them.
struct TimelineState : ObjectState {
  TimelineState(ObjectId id, uint64_t initial) : ObjectState(id), value(initial) {}
  struct Pending {
    SubmitPoint at;
    uint64_t value;
  };
  uint64_t value;
  std::vector<Pending> pending;

  // Takes over the values of submits that have completed, and returns the value that results.
  uint64_t Value() {
    std::erase_if(pending, [this](const Pending& each) {
      if (!each.at.Reached()) return false;
      value = std::max(value, each.value);
      return true;
    });
    return value;
  }
  // May throw std::bad_alloc.
  void SignalAt(const SubmitPoint& point, uint64_t to) {
    if (pending.size() >= limits::kPendingSignals && pending.size() == pending.capacity()) Value();
    pending.push_back({point, to});
  }
  void SignalNow(uint64_t to) { value = std::max(value, to); }
};

// How long an application's timeout in nanoseconds lasts from now on.
Clock::time_point DeadlineAfter(uint64_t timeout_ns);

}  // namespace vesper::client
