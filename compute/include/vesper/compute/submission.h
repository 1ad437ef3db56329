// What the device has been given to do: waitable.
// Public: see docs/compute.md.
#pragma once

#include <vulkan/vulkan.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "vesper/compute/device.h"
#include "vesper/compute/export.h"

namespace vesper::compute {

class Queue;  // src/queue.h

// A point on a queue's timeline. Copies are cheap and refer to the same work; the work goes on
// whether or not anyone waits. A default one is done.
class VESPER_COMPUTE_API Submission {
 public:
  Submission();
  Submission(std::shared_ptr<DeviceState> device, Queue* queue, uint64_t value, std::string what);
  ~Submission();
  Submission(const Submission&);
  Submission& operator=(const Submission&);
  Submission(Submission&&) noexcept;
  Submission& operator=(Submission&&) noexcept;

  // Throws SyncError with VK_TIMEOUT and a sentence of what was not done, or ExecutionFailed when
  // the device is lost. May be called again.
  void Wait(std::chrono::nanoseconds timeout = kDefaultTimeout) const;
  bool IsDone() const;
  // "kernel add, 4x1x1 work-groups".
  const std::string& what() const { return what_; }

  Queue* queue() const { return queue_; }
  uint64_t value() const { return value_; }

 private:
  std::shared_ptr<DeviceState> device_;
  Queue* queue_ = nullptr;
  uint64_t value_ = 0;
  std::string what_;
};

// Holds work back until the host says go: a batch After(gate) starts when it is opened. A gate that
// is destroyed closed is opened, so that nothing waits for ever.
class VESPER_COMPUTE_API Gate {
 public:
  explicit Gate(const Device& device);
  ~Gate();
  Gate(Gate&&) noexcept;
  Gate& operator=(Gate&&) noexcept;

  void Open();
  const std::shared_ptr<VkSemaphore>& semaphore() const { return semaphore_; }

 private:
  std::shared_ptr<DeviceState> device_;  // outlives semaphore_
  std::shared_ptr<VkSemaphore> semaphore_;
};

}  // namespace vesper::compute
