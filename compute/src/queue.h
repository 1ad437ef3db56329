// A queue of the device and its timeline: every submission signals the next value.
#pragma once

#include <vulkan/vulkan.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace vesper::compute {

// There are at most two: Queue::index() says which.
inline constexpr uint32_t kMaxQueues = 2;

class Queue {
 public:
  Queue(VkDevice device, uint32_t family, uint32_t index, const char* name);
  ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  VkQueue handle() const { return handle_; }
  uint32_t family() const { return family_; }
  uint32_t index() const { return index_; }
  const char* name() const { return name_; }
  VkSemaphore timeline() const { return timeline_; }
  // The value of the latest submission.
  uint64_t submitted() const { return submitted_.load(std::memory_order_acquire); }

  // Any thread.
  bool Reached(uint64_t value);
  // VK_SUCCESS, VK_TIMEOUT or VK_ERROR_DEVICE_LOST.
  VkResult Wait(uint64_t value, std::chrono::nanoseconds timeout);

  // The rest is guarded by the device's submit mutex.
  struct Pending {
    uint64_t value;
    std::string what;
    std::vector<std::shared_ptr<const void>> keep;  // until the value is reached
  };
  void Submitted(Pending pending);
  // Gives up what finished submissions kept alive, for the caller to destroy outside its locks.
  void Collect(std::vector<Pending>* finished);
  // All of it, for a device that is idle or lost.
  void Drain(std::vector<Pending>* all);
  // What of the submissions up to `value` is not done, for messages.
  std::string Unfinished(uint64_t value);
  size_t pending() const { return pending_.size(); }
  uint64_t oldest_pending() const { return pending_.front().value; }
  // After which submission the next one of another queue starts: set by work of unknown extent.
  uint64_t everything = 0;

 private:
  const VkDevice device_;
  const uint32_t family_;
  const uint32_t index_;
  const char* const name_;
  VkQueue handle_ = VK_NULL_HANDLE;
  VkSemaphore timeline_ = VK_NULL_HANDLE;
  std::atomic<uint64_t> submitted_ = 0;
  std::atomic<uint64_t> completed_ = 0;  // known to be
  std::deque<Pending> pending_;
};

// A timeline semaphore that begins at 0. Throws InitializationFailed.
VkSemaphore CreateTimeline(VkDevice device);

}  // namespace vesper::compute
