#include "server/queue.h"

#include <fmt/core.h>

#include <algorithm>

#include "server/device.h"
#include "server/events.h"
#include "server/memory.h"

namespace vesper::server {
namespace {

// How long the driver is asked to wait at once, so that stopping is noticed.
constexpr uint64_t kWaitNs = 100'000'000;

}  // namespace

Queue::Queue(Device* device, VkQueue queue, ObjectId id) : device_(device), queue_(queue), id_(id) {
  if (device->parts().timeline) {
    VkSemaphoreTypeCreateInfo type{VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO, nullptr, VK_SEMAPHORE_TYPE_TIMELINE,
                                   0};
    const VkSemaphoreCreateInfo info{VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, &type, 0};
    if (device->table().CreateSemaphore(device->handle(), &info, nullptr, &timeline_) != VK_SUCCESS) {
      timeline_ = VK_NULL_HANDLE;
    }
  }
  executor_ = std::thread([this] { Execute(); });
  watcher_ = std::thread([this] { Watch(); });
}

Queue::~Queue() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  device_->WakeExecutors();
  executor_.join();
  watcher_.join();
  RunWaiters();
  const bool idle = watched_.empty();
  for (const QueueJob& job : watched_) {
    if (job.fence != VK_NULL_HANDLE) device_->UnwatchFence(job.fence);
  }
  if (!idle) return;  // the driver still uses what is ours; it goes with the process
  if (timeline_ != VK_NULL_HANDLE) device_->table().DestroySemaphore(device_->handle(), timeline_, nullptr);
  for (const VkFence fence : fences_) device_->table().DestroyFence(device_->handle(), fence, nullptr);
}

void Queue::Enqueue(QueueJob job) {
  if (job.fence != VK_NULL_HANDLE) device_->WatchFence(job.fence);
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  changed_.notify_all();
}

VkFence Queue::TakeFence() {
  {
    const std::lock_guard lock(mutex_);
    if (!fences_.empty()) {
      const VkFence fence = fences_.back();
      fences_.pop_back();
      return fence;
    }
  }
  const VkFenceCreateInfo info{VK_STRUCTURE_TYPE_FENCE_CREATE_INFO, nullptr, 0};
  VkFence fence = VK_NULL_HANDLE;
  if (device_->table().CreateFence(device_->handle(), &info, nullptr, &fence) != VK_SUCCESS) return VK_NULL_HANDLE;
  return fence;
}

void Queue::Execute() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    if (stopping_) return;
    QueueJob job = std::move(jobs_.front());
    jobs_.pop_front();
    executing_ = true;
    lock.unlock();
    for (const auto& ticket : job.waits) device_->AwaitHandOver(*ticket, stopping_);
    const bool dropped = stopping_ || device_->lost();
    if (job.serial != 0 && job.works) device_->WorkBegins();
    const VkResult result = dropped ? VK_ERROR_DEVICE_LOST : job.call();
    if (job.ticket != nullptr) device_->HandOver(job.ticket.get());
    if (!dropped && result < 0 && job.serial != 0) {
      device_->Lose(fmt::format("{} failed with {}", job.name, static_cast<int>(result)));
    }
    if (result < 0 && job.fence != VK_NULL_HANDLE) device_->UnwatchFence(job.fence);
    job.call = nullptr;
    job.keeps.reset();
    if (result < 0) RunWaiters();
    lock.lock();
    executing_ = false;
    if (result >= 0 && job.serial != 0) watched_.push_back(std::move(job));
    changed_.notify_all();
  }
}

VkResult Queue::Await(const QueueJob& job, uint64_t timeout_ns) {
  const vk::DispatchTable& table = device_->table();
  VkResult result = VK_SUCCESS;
  if (job.internal != VK_NULL_HANDLE) {
    result = table.WaitForFences(device_->handle(), 1, &job.internal, VK_TRUE, timeout_ns);
  } else if (timeline_ != VK_NULL_HANDLE) {
    VkSemaphoreWaitInfo info{VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO, nullptr, 0, 1, &timeline_, &job.serial};
    result = table.WaitSemaphores(device_->handle(), &info, timeout_ns);
  }
  if (result == VK_SUCCESS && job.fence != VK_NULL_HANDLE) {
    result = table.WaitForFences(device_->handle(), 1, &job.fence, VK_TRUE, timeout_ns);
  }
  return result;
}

// Waits for a job; as long as it lasts, what the GPU writes meanwhile is sent now and then.
VkResult Queue::AwaitExchanging(const QueueJob& job) {
  VkResult result = VK_TIMEOUT;
  while (result == VK_TIMEOUT && !stopping_ && !device_->lost()) {
    const uint64_t exchange_ns = device_->NsToExchange();
    result = Await(job, std::min(kWaitNs, exchange_ns));
    if (result == VK_TIMEOUT) device_->ExchangeMemory();
  }
  return result;
}

void Queue::Watch() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !watched_.empty(); });
    if (stopping_) return;
    const size_t count = AwaitFront(&lock);
    if (count == 0) {
      if (stopping_) return;
      continue;
    }
    std::vector<QueueJob> done(std::make_move_iterator(watched_.begin()),
                               std::make_move_iterator(watched_.begin() + static_cast<ptrdiff_t>(count)));
    lock.unlock();
    Complete(std::move(done));
    lock.lock();
    watched_.erase(watched_.begin(), watched_.begin() + static_cast<ptrdiff_t>(count));
    lock.unlock();
    RunWaiters();
    changed_.notify_all();
    lock.lock();
  }
}

size_t Queue::AwaitFront(std::unique_lock<std::mutex>* lock) {
  const QueueJob front = watched_.front();
  lock->unlock();
  const VkResult result = AwaitExchanging(front);
  if (result < 0) device_->Lose(fmt::format("waiting for a submit failed with {}", static_cast<int>(result)));
  uint64_t value = front.serial;
  if (result == VK_SUCCESS && front.internal == VK_NULL_HANDLE && timeline_ != VK_NULL_HANDLE) {
    const vk::DispatchTable& table = device_->table();
    if (table.GetSemaphoreCounterValue(device_->handle(), timeline_, &value) != VK_SUCCESS) value = front.serial;
  }
  if (device_->lost()) RunWaiters();
  lock->lock();
  if (result != VK_SUCCESS) {
    if (device_->lost()) changed_.wait(*lock, [this] { return stopping_.load(); });
    return 0;
  }
  size_t count = 1;
  while (count < watched_.size() && watched_[count].serial <= value) ++count;
  return count;
}

void Queue::Complete(std::vector<QueueJob> jobs) {
  for (size_t i = 0; i < jobs.size(); ++i) {
    QueueJob& job = jobs[i];
    const VkResult result = i == 0 ? VK_SUCCESS : AwaitExchanging(job);
    if (job.fence != VK_NULL_HANDLE) device_->UnwatchFence(job.fence);
    if (job.internal != VK_NULL_HANDLE && result == VK_SUCCESS) {
      device_->table().ResetFences(device_->handle(), 1, &job.internal);
      const std::lock_guard lock(mutex_);
      fences_.push_back(job.internal);
    }
  }
  if (stopping_ || device_->lost()) return;
  const auto works = std::count_if(jobs.begin(), jobs.end(), [](const auto& job) { return job.works; });
  device_->WorkEnded(static_cast<uint64_t>(works));
  device_->ScanMemory();
  device_->parts().events->Completed(id_, jobs.back().serial);
  const std::lock_guard lock(mutex_);
  completed_ = jobs.back().serial;
}

void Queue::WhenCompleted(uint64_t serial, std::function<void()> done) {
  {
    const std::lock_guard lock(mutex_);
    waiters_.push_back({serial, std::move(done)});
  }
  RunWaiters();
}

void Queue::RunWaiters() {
  std::vector<Waiter> ready;
  {
    const std::lock_guard lock(mutex_);
    const bool all = stopping_ || device_->lost();
    const auto middle = std::partition(waiters_.begin(), waiters_.end(),
                                       [&](const Waiter& waiter) { return !all && waiter.serial > completed_; });
    ready.assign(std::make_move_iterator(middle), std::make_move_iterator(waiters_.end()));
    waiters_.erase(middle, waiters_.end());
  }
  for (const Waiter& waiter : ready) waiter.done();
}

bool Queue::Drain(std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  while (true) {
    const uint64_t before = completed_;
    const size_t jobs_before = jobs_.size();
    const auto idle = [this] { return jobs_.empty() && !executing_ && watched_.empty(); };
    if (changed_.wait_for(lock, timeout, [&] { return device_->lost() || idle(); })) return idle();
    if (completed_ == before && jobs_.size() == jobs_before) return false;
  }
}

}  // namespace vesper::server
