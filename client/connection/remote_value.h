// A value of an object that the server knows and that never changes: asked for once, perhaps before anybody wants it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "client/connection/connection.h"

namespace vesper::client {

struct RemoteValue {
  bool IsKnown() const { return known.load(std::memory_order_acquire); }
  uint64_t Value() const { return value.load(std::memory_order_relaxed); }
  void Know(uint64_t what) {
    value.store(what, std::memory_order_relaxed);
    known.store(true, std::memory_order_release);
  }

  std::atomic<bool> known{false};
  std::atomic<uint64_t> value{0};
  std::shared_ptr<LaterReply> asked;  // guarded by the lane; null: not asked, or known
};

}  // namespace vesper::client
