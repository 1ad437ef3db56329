// How long this process's queues have been at work: from when a submit is at the front of what its queue was handed to when it
// has completed. Waiting for a semaphore or event that nobody signals yet counts, for it keeps the queue as well.
#pragma once

#include <chrono>
#include <cstdint>

namespace vesper::server {

// While it lives a submit is awaited. Any thread.
class GpuRun {
 public:
  GpuRun();
  ~GpuRun();
  GpuRun(const GpuRun&) = delete;
  GpuRun& operator=(const GpuRun&) = delete;

 private:
  size_t place_;
};

// Of all queues together, with what they are at. Any thread.
uint64_t GpuNanoseconds();
// How long the submit has been awaited that has been for longest; zero when none is.
std::chrono::nanoseconds LongestGpuRun();

}  // namespace vesper::server
