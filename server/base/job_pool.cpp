#include "server/base/job_pool.h"

#include <system_error>

namespace vesper::server {

JobPool::~JobPool() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.NotifyAll();
  for (std::thread& thread : threads_) thread.join();
}

void JobPool::Post(std::function<void()> job) {
  {
    const MutexLock lock(mutex_);
    jobs_.push_back(std::move(job));
    if (running_ + jobs_.size() > threads_.size() && threads_.size() < max_threads_) {
      AddThread();
    }
  }
  changed_.NotifyAll();
}

void JobPool::AddThread() {
  try {
    threads_.emplace_back([this] { Work(); });
  } catch (const std::system_error&) {
    if (threads_.empty()) throw;  // the others will do it
  }
}

void JobPool::Drain() {
  const MutexLock lock(mutex_);
  while (!jobs_.empty() || running_ != 0) changed_.Wait(mutex_);
}

void JobPool::Work() {
  MutexLock lock(mutex_);
  while (true) {
    while (!stopping_ && jobs_.empty()) changed_.Wait(mutex_);
    if (jobs_.empty()) return;
    const std::function<void()> job = std::move(jobs_.front());
    jobs_.pop_front();
    ++running_;
    lock.Unlock();
    job();
    lock.Lock();
    --running_;
    changed_.NotifyAll();
  }
}

}  // namespace vesper::server
