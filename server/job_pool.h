// The threads that run a session's slow commands, as pipeline creation, so that its reader goes on
// with other work.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace vesper::server {

// Jobs start in the order of Post(), so that one may wait for those before it. Threads start on
// first use.
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

  const size_t max_threads_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;
  size_t running_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace vesper::server
