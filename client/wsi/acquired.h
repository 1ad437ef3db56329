// Binary semaphores that acquiring an image has signalled. The image is free by then, so nothing is left to wait for; but a
// wait must find the semaphore signalled on the server too. The signal is submitted by whoever waits, ahead of the wait and on
// the same queue: acquiring needs no queue of its own and sends nothing.
#pragma once

#include <vulkan/vulkan.h>

#include <algorithm>
#include <atomic>
#include <vector>

#include "runtime/mutex.h"

namespace vesper::client {

// Owned by the device. Thread-safe; no other lock is taken under its own.
class AcquiredSemaphores {
 public:
  // May throw std::bad_alloc.
  void Add(VkSemaphore semaphore) {
    const MutexLock lock(mutex_);
    semaphores_.push_back(semaphore);
    count_.store(semaphores_.size(), std::memory_order_release);
  }

  bool empty() const { return count_.load(std::memory_order_acquire) == 0; }

  // Removes the semaphore; says whether it was there.
  bool Take(VkSemaphore semaphore) {
    if (empty()) return false;
    const MutexLock lock(mutex_);
    const auto found = std::find(semaphores_.begin(), semaphores_.end(), semaphore);
    if (found == semaphores_.end()) return false;
    semaphores_.erase(found);
    count_.store(semaphores_.size(), std::memory_order_release);
    return true;
  }

 private:
  Mutex mutex_;
  std::vector<VkSemaphore> semaphores_ VESPER_GUARDED_BY(mutex_);
  std::atomic<size_t> count_{0};
};

}  // namespace vesper::client
