// Host memory that downloads come through: a few buffers, made when first needed, each with memory
// of its own that is mapped only while a download holds it (see MemoryKind).
//
// Whoever holds a slot does not wait for another one, so that holders always get on. Those who wait
// get theirs in the order in which they came.
#pragma once

#include <vulkan/vulkan.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "compute/src/allocator.h"
#include "compute/src/queue.h"

namespace vesper::compute {

class DownloadSlots {
 public:
  struct Slot {
    VkBuffer buffer = VK_NULL_HANDLE;
    Allocation memory;
    // The holder's. Opened after the copy was submitted: a driver that has to ask another process
    // does so while the device copies.
    std::optional<HostRange> host;
    bool taken = false;
    Queue* queue = nullptr;  // which may write to it until `value`
    uint64_t value = 0;
  };

  // `bytes` is for all of them.
  DownloadSlots(VkDevice device, Allocator* allocator, uint64_t bytes, std::vector<uint32_t> families);
  ~DownloadSlots();
  DownloadSlots(const DownloadSlots&) = delete;
  DownloadSlots& operator=(const DownloadSlots&) = delete;

  uint64_t slot_bytes() const { return slot_bytes_; }

  // Thread-safe, all of them. Null: there is none, or others wait for one, and may_wait is false.
  // Throws SyncError at the limit, AllocationFailed.
  Slot* Take(bool may_wait, std::chrono::nanoseconds timeout);
  // Unmaps it. `queue` may still write to it until `value`, unless null.
  void Return(Slot* slot, Queue* queue = nullptr, uint64_t value = 0);
  // Whether holders should return what they can spare.
  bool IsAwaited() const;

 private:
  Slot* FindFree();
  std::unique_ptr<Slot> Make() const;
  void Destroy(const Slot& slot) const;
  void WaitForOne(std::unique_lock<std::mutex>* lock, bool is_first, std::chrono::steady_clock::time_point deadline);

  const VkDevice device_;
  Allocator* const allocator_;
  const uint64_t slot_bytes_;
  const std::vector<uint32_t> families_;
  mutable std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::deque<const void*> line_;  // those who wait
};

}  // namespace vesper::compute
