// Host memory through which uploads stream: a ring of bytes, mapped as long as it lives, which the
// device only reads. Regions are taken at the head in order and come back at the tail: when the
// device is done with them, or when their holder releases them.
//
// Whoever holds a region does not wait for another one, so that holders always get on and the tail
// always moves.
#pragma once

#include <vulkan/vulkan.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>

#include "compute/src/allocator.h"
#include "compute/src/queue.h"

namespace vesper::compute {

class StagingRing {
 public:
  struct Region {
    uint64_t id = 0;
    uint64_t offset = 0;  // in buffer()
    uint64_t bytes = 0;
    void* data = nullptr;
  };

  // Throws AllocationFailed.
  StagingRing(VkDevice device, Allocator* allocator, uint64_t bytes, const std::vector<uint32_t>& families);
  ~StagingRing();

  VkBuffer buffer() const { return buffer_; }
  // How much to ask for at most: several such regions are in flight at a time.
  uint64_t piece_bytes() const { return bytes_ / 4; }

  // Thread-safe, all of them. Throws SyncError at the limit.
  Region Reserve(uint64_t bytes, std::chrono::nanoseconds timeout);
  // The device uses it until `value` of `queue`.
  void Submitted(const Region& region, Queue* queue, uint64_t value);
  void Release(const Region& region);

 private:
  struct Entry {
    uint64_t id;
    uint64_t start;  // counted from the beginning of time; the offset is start modulo bytes_
    uint64_t end;
    Queue* queue;
    uint64_t value;
    bool done;
  };
  void FreeTail();
  void WaitForTail(std::unique_lock<std::mutex>* lock, std::chrono::steady_clock::time_point deadline);

  const VkDevice device_;
  Allocator* const allocator_;
  const uint64_t bytes_;
  VkBuffer buffer_ = VK_NULL_HANDLE;
  Allocation memory_;
  std::mutex mutex_;
  std::condition_variable moved_;
  std::deque<Entry> entries_;
  uint64_t next_id_ = 1;
  uint64_t head_ = 0;
};

}  // namespace vesper::compute
