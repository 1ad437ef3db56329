// What became of creations that are slow and that nobody waited for. The server says so for each; a failure is told by the
// first call that can tell it: vkEndCommandBuffer of what uses the object, and a creation of the same.
#pragma once

#include <vulkan/vulkan.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <unordered_set>

#include "client/connection/connection.h"
#include "runtime/mutex.h"
#include "runtime/object_id.h"

namespace vesper::client {

// Owned by the session. Thread-safe; calls nobody, so its lock is the last to be taken.
class Verdicts {
 public:
  // The request with the digest `request`, which will make these objects, is about to be sent.
  void Expect(std::span<const uint64_t> ids, uint64_t request) noexcept;
  void Decided(ObjectId id, VkResult result) noexcept;
  void Forget(ObjectId id) noexcept;

  // True when no creation is undecided and no object that is still there has failed.
  bool AllWell() const noexcept { return count_.load(std::memory_order_relaxed) == 0; }
  // The first failure among the objects, or VK_SUCCESS.
  VkResult FailureOf(std::span<const ObjectId> ids) const noexcept;
  // Until when it is worth waiting for a verdict on any of them.
  Clock::time_point Deadline(std::span<const ObjectId> ids) const noexcept;
  bool AreDecided(std::span<const ObjectId> ids) const noexcept;
  // Whether an equal request has failed.
  bool HasFailed(uint64_t request) const noexcept;
  bool AnyFailed() const noexcept { return any_failed_.load(std::memory_order_relaxed); }

 private:
  struct Undecided {
    uint64_t request;
    Clock::time_point since;
  };
  void Recount() noexcept VESPER_REQUIRES(mutex_) {
    count_.store(undecided_.size() + failed_.size(), std::memory_order_relaxed);
  }

  mutable Mutex mutex_;
  std::unordered_map<ObjectId, Undecided> undecided_ VESPER_GUARDED_BY(mutex_);
  std::unordered_map<ObjectId, VkResult> failed_ VESPER_GUARDED_BY(mutex_);
  std::unordered_set<uint64_t> failed_requests_ VESPER_GUARDED_BY(mutex_);
  std::atomic<size_t> count_{0};
  std::atomic<bool> any_failed_{false};
};

}  // namespace vesper::client
