#include "server/device/queue.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "runtime/relax.h"
#include "server/base/limits.h"
#include "server/channel/events.h"
#include "server/device/device.h"
#include "server/device/gpu_time.h"
#include "server/memory/memory.h"

namespace vesper::server {
namespace {

constexpr uint64_t kWaitNs = std::chrono::nanoseconds(limits::kDriverWait).count();
// For so long after a submit a thread that stays looks after it between commands.
constexpr std::chrono::microseconds kStay{200};
thread_local bool t_attends = false;
thread_local bool t_stays = false;
thread_local Queue* t_attended = nullptr;
thread_local std::chrono::steady_clock::time_point t_handed_over;

bool AffordsLooking() {
  static const bool affords = std::thread::hardware_concurrency() >= limits::kProcessorsToWatch;
  return affords;
}

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
  if (t_attended == this) t_attended = nullptr;  // devices end on the thread that attends their queues
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  to_execute_.NotifyAll();
  to_watch_.NotifyAll();
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
  MutexLock lock(mutex_);
  if (jobs_.empty() && !executing_ && !stopping_ && IsQuick(job)) {
    ++counts_.at_once;
    HandOver(std::move(job), t_attends && t_attended == nullptr);
    return;
  }
  jobs_.push_back(std::move(job));
  lock.Unlock();
  to_execute_.NotifyOne();
}

bool Queue::IsQuick(const QueueJob& job) const {
  return !job.may_block && std::chrono::steady_clock::now() >= quick_again_ &&
         std::all_of(job.waits.begin(), job.waits.end(), [](const auto& ticket) { return ticket->handed_over.load(); });
}

VkFence Queue::TakeFence() {
  {
    const MutexLock lock(mutex_);
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
  MutexLock lock(mutex_);
  while (true) {
    while (!stopping_ && (jobs_.empty() || executing_)) {
      to_execute_.Wait(mutex_);
      ++counts_.executor_wakes;
    }
    if (stopping_) return;
    QueueJob job = std::move(jobs_.front());
    jobs_.pop_front();
    HandOver(std::move(job), false);
  }
}

void Queue::HandOver(QueueJob job, bool attends) {
  executing_ = true;
  mutex_.unlock();
  for (const auto& ticket : job.waits) device_->AwaitHandOver(*ticket, stopping_);
  const bool dropped = stopping_ || device_->lost();
  if (job.serial != 0 && job.works) device_->WorkBegins();
  const auto start = std::chrono::steady_clock::now();
  const VkResult result = dropped ? VK_ERROR_DEVICE_LOST : job.call();
  const auto end = std::chrono::steady_clock::now();
  if (job.ticket != nullptr) device_->HandOver(job.ticket.get());
  if (!dropped && result < 0 && job.serial != 0) {
    device_->Lose(fmt::format("{} failed with {}", job.name, static_cast<int>(result)));
  }
  if (result < 0 && job.fence != VK_NULL_HANDLE) device_->UnwatchFence(job.fence);
  job.call = nullptr;
  job.keeps.reset();
  mutex_.lock();
  executing_ = false;
  if (end - start > limits::kQuickSubmit) quick_again_ = end + limits::kSlowSubmitsFor;
  handed_over_ = std::max(handed_over_, job.serial);
  if (result >= 0 && job.serial != 0) {
    attended_ = attended_ || (attends && watched_.empty() && MayAttend());
    if (attended_ && attends) {
      t_attended = this;
      t_handed_over = end;
    }
    watched_.push_back(std::move(job));
    if (!attended_) CallWatcher();
  }
  if (!jobs_.empty()) to_execute_.NotifyOne();
  progress_.NotifyAll();
  if (waiters_.empty()) return;
  mutex_.unlock();
  RunWaiters();
  mutex_.lock();
}

// --- attending ------------------------------------------------------------------------------------------------------------

void Queue::SetAttends(bool attends, bool stays) {
  t_attends = attends;
  t_stays = attends && stays;
  LeaveAttended();
}

void Queue::Attend(const std::function<bool()>& has_news) {
  if (t_attended != nullptr) std::exchange(t_attended, nullptr)->AttendFront(has_news);
}

void Queue::LeaveAttended() {
  if (t_attended == nullptr) return;
  Queue* const queue = std::exchange(t_attended, nullptr);
  if (t_stays) {
    if (queue->TryCompleteFront()) return;
    if (std::chrono::steady_clock::now() - t_handed_over < kStay) {
      t_attended = queue;
      return;
    }
  }
  queue->LeaveToWatcher();
}

// Memory that is compared when work ends would hold the thread up.
bool Queue::MayAttend() {
  if (device_->MayOweMemory() || std::thread::hardware_concurrency() < 2) return false;
  return in_vain_ < limits::kMaxAttendedInVain || in_vain_++ % limits::kMaxAttendedInVain == 0;
}

void Queue::AttendFront(const std::function<bool()>& has_news) {
  bool news = false;
  {
    const GpuRun run;
    const auto end = std::chrono::steady_clock::now() + limits::kAttend;
    while (!(news = has_news())) {
      if (TryCompleteFront()) return;
      if (std::chrono::steady_clock::now() < end) continue;
      ++in_vain_;
      break;
    }
  }
  if (!news || !t_stays) return LeaveToWatcher();
  t_attended = this;  // LeaveAttended() comes next, and decides
}

// While it is attended, nobody else takes the front out of `watched_`.
bool Queue::TryCompleteFront() {
  MutexLock lock(mutex_);
  QueueJob& front = watched_.front();
  lock.Unlock();
  if (Await(front, 0) != VK_SUCCESS) return false;  // what went wrong, the watcher will see
  in_vain_ = 0;
  ++counts_.attended;
  std::vector<QueueJob> done;
  done.push_back(std::move(front));
  Complete(std::move(done));
  lock.Lock();
  watched_.pop_front();
  attended_ = false;
  if (!watched_.empty()) CallWatcher();
  lock.Unlock();
  RunWaiters();
  progress_.NotifyAll();
  return true;
}

void Queue::LeaveToWatcher() {
  const MutexLock lock(mutex_);
  attended_ = false;
  CallWatcher();
}

// --- watching -------------------------------------------------------------------------------------------------------------

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

// Waits for a job. While it runs, what the GPU writes to mapped memory is sent at intervals, for programs that poll.
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
  MutexLock lock(mutex_);
  while (true) {
    if (watched_.empty() && !stopping_) {
      lock.Unlock();
      LookForWork();
      lock.Lock();
    }
    while (!stopping_ && (watched_.empty() || attended_)) to_watch_.Wait(mutex_);
    if (stopping_) return;
    const size_t count = AwaitFront();
    if (count == 0) {
      if (stopping_) return;
      continue;
    }
    std::vector<QueueJob> done(std::make_move_iterator(watched_.begin()),
                               std::make_move_iterator(watched_.begin() + static_cast<ptrdiff_t>(count)));
    lock.Unlock();
    Complete(std::move(done));
    lock.Lock();
    watched_.erase(watched_.begin(), watched_.begin() + static_cast<ptrdiff_t>(count));
    lock.Unlock();
    RunWaiters();
    progress_.NotifyAll();
    lock.Lock();
  }
}

void Queue::CallWatcher() {
  calls_.fetch_add(1, std::memory_order_release);
  to_watch_.NotifyOne();  // no system call where it looks
}

// Submits come one after the other: who hands them over would wake the watcher for each.
void Queue::LookForWork() {
  if (!AffordsLooking()) return;
  const uint32_t seen = calls_.load(std::memory_order_acquire);
  const auto end = std::chrono::steady_clock::now() + limits::kWatchClosely;
  while (!stopping_ && calls_.load(std::memory_order_acquire) == seen && std::chrono::steady_clock::now() < end) {
    for (int i = 0; i < limits::kWatchPauses; ++i) Relax();
  }
}

// The driver's wait sleeps until an interrupt comes, some ten microseconds after the end. Much ends soon after what ended before
// it: that is looked for first, where a processor is to spare. Whether it has ended.
bool Queue::WatchClosely(const QueueJob& job) {
  if (!AffordsLooking() || device_->MayOweMemory()) return false;
  const auto end = std::chrono::steady_clock::now() + limits::kWatchClosely;
  while (!stopping_ && std::chrono::steady_clock::now() < end) {
    if (Await(job, 0) == VK_SUCCESS) return true;  // what went wrong, the wait will see
    for (int i = 0; i < limits::kWatchPauses; ++i) Relax();
  }
  return false;
}

size_t Queue::AwaitFront() {
  const QueueJob front = watched_.front();
  mutex_.unlock();
  VkResult result = VK_SUCCESS;
  {
    const GpuRun run;
    if (!WatchClosely(front)) result = AwaitExchanging(front);
  }
  if (result < 0) device_->Lose(fmt::format("waiting for a submit failed with {}", static_cast<int>(result)));
  uint64_t value = front.serial;
  if (result == VK_SUCCESS && front.internal == VK_NULL_HANDLE && timeline_ != VK_NULL_HANDLE) {
    const vk::DispatchTable& table = device_->table();
    if (table.GetSemaphoreCounterValue(device_->handle(), timeline_, &value) != VK_SUCCESS) value = front.serial;
  }
  if (device_->lost()) RunWaiters();
  mutex_.lock();
  if (result != VK_SUCCESS) {
    while (device_->lost() && !stopping_) to_watch_.Wait(mutex_);
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
      const MutexLock lock(mutex_);
      fences_.push_back(job.internal);
    }
  }
  if (stopping_ || device_->lost()) return;
  const auto works = std::count_if(jobs.begin(), jobs.end(), [](const auto& job) { return job.works; });
  device_->WorkEnded(static_cast<uint64_t>(works));
  device_->ScanMemory();
  RunWaitersAhead(jobs.back().serial);
  device_->parts().events->Completed(id_, jobs.back().serial);
  const MutexLock lock(mutex_);
  completed_ = jobs.back().serial;
}

void Queue::WhenCompleted(uint64_t serial, std::function<void()> done) {
  AddWaiter({serial, Until::kTold, std::move(done)});
}

void Queue::WithCompletion(uint64_t serial, std::function<void()> done) {
  AddWaiter({serial, Until::kCompleted, std::move(done)});
}

void Queue::WhenHandedOver(uint64_t serial, std::function<void()> done) {
  AddWaiter({serial, Until::kHandedOver, std::move(done)});
}

bool Queue::IsIdle() {
  const MutexLock lock(mutex_);
  return completed_ == last_serial_;
}

void Queue::AddWaiter(Waiter waiter) {
  {
    const MutexLock lock(mutex_);
    waiters_.push_back(std::move(waiter));
  }
  RunWaiters();
}

void Queue::RunWaiters() {
  const bool all = stopping_ || device_->lost();
  RunThose([&](const Waiter& waiter) VESPER_NOT_ANALYSED {
    return all || waiter.serial <= (waiter.until == Until::kHandedOver ? handed_over_ : completed_);
  });
}

void Queue::RunWaitersAhead(uint64_t completed) {
  RunThose(
      [completed](const Waiter& waiter) { return waiter.until == Until::kCompleted && waiter.serial <= completed; });
}

template <typename IsReady>
void Queue::RunThose(IsReady is_ready) {
  std::vector<Waiter> ready;
  {
    const MutexLock lock(mutex_);
    const auto middle =
        std::partition(waiters_.begin(), waiters_.end(), [&](const Waiter& waiter) { return !is_ready(waiter); });
    ready.assign(std::make_move_iterator(middle), std::make_move_iterator(waiters_.end()));
    waiters_.erase(middle, waiters_.end());
  }
  for (const Waiter& waiter : ready) waiter.done();
}

bool Queue::Drain(std::chrono::milliseconds timeout) {
  const MutexLock lock(mutex_);
  while (true) {
    const uint64_t before = completed_;
    const size_t jobs_before = jobs_.size();
    const auto until = std::chrono::steady_clock::now() + timeout;
    while (!device_->lost() && !Drained() && progress_.WaitUntil(mutex_, until)) {
    }
    if (device_->lost() || Drained()) return Drained();
    if (completed_ == before && jobs_.size() == jobs_before) return false;
  }
}

}  // namespace vesper::server
