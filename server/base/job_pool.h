// The threads that run a session's slow commands, as pipeline creation, so that its reader goes on with other work.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "runtime/mutex.h"

namespace vesper::server {

// Owned by the session or a device. Any thread may call it, but for the destructor; mutex_ guards all that changes. Jobs start
// in the order of Post(), so that a job may wait for jobs before it. Threads start on first use.
class JobPool {
 public:
  explicit JobPool(size_t max_threads) : max_threads_(max_threads) {}
  ~JobPool();  // runs what was posted
  JobPool(const JobPool&) = delete;
  JobPool& operator=(const JobPool&) = delete;

  void Post(std::function<void()> job);
  // Waits until all that was posted has ended.
  void Drain();

 private:
  void Work();
  void AddThread() VESPER_REQUIRES(mutex_);

  const size_t max_threads_;
  Mutex mutex_;
  Condition changed_;
  std::deque<std::function<void()>> jobs_ VESPER_GUARDED_BY(mutex_);
  size_t running_ VESPER_GUARDED_BY(mutex_) = 0;
  bool stopping_ VESPER_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_ VESPER_GUARDED_BY(mutex_);
};

}  // namespace vesper::server
