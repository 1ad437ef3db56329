// The two threads of a VkQueue: one hands submits to the driver in order where the session's reader would have to wait (for
// another queue, or a slow driver); the other notices their completion, and nothing of the application's is waited for but its
// fence. Neither is woken for a submit to an idle queue that ends at once: the reader hands it over and looks after it.
#pragma once

#include <vulkan/vulkan.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "generated/vk/dispatch_table.h"
#include "runtime/mutex.h"
#include "runtime/object_id.h"

namespace vesper::server {

class Device;

// Says whether one submit has been handed to the driver. A wait of a binary semaphore may be handed over only after the signal
// that it waits for. Shared by the job that signals and those that wait; set once, under the lock of the device.
struct Ticket {
  std::atomic<bool> handed_over = false;
};

// One call to be made on a queue, in order with the others.
struct QueueJob {
  // The driver's call; what it reads belongs to `keeps`. VK_SUCCESS, or the device is lost.
  std::function<VkResult()> call;
  std::shared_ptr<void> keeps;
  std::shared_ptr<const void> writes;  // the ledger's entry of what it may write, which lives until that was sent
  const char* name = "";
  std::vector<std::shared_ptr<Ticket>> waits;  // handed over before this one
  std::shared_ptr<Ticket> ticket;
  bool may_block = false;             // the driver may wait in it for something that is not handed over yet
  uint64_t serial = 0;                // 0: it does not complete, as a label does not
  bool works = true;                  // false: it only waits and signals, and writes no memory
  VkFence fence = VK_NULL_HANDLE;     // the application's
  VkFence internal = VK_NULL_HANDLE;  // ours, where timeline semaphores are missing
};

// Owned by the device. Any thread may call it, but for the destructor, which is the reader's; mutex_ guards all that changes
// and is not atomic. No lock of the device is taken under it, and it is given up while the driver or anybody else is waited
// for.
class Queue {
 public:
  Queue(Device* device, VkQueue queue, ObjectId id);
  ~Queue();  // stops; jobs that have not been handed over are dropped
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  VkQueue handle() const { return queue_; }
  // The semaphore that counts serials, or null where fences do it.
  VkSemaphore timeline() const { return timeline_; }

  // The next submit's number, which its job then carries. One thread at a time calls this and Enqueue().
  uint64_t NextSerial() { return ++last_serial_; }
  uint64_t last_serial() const { return last_serial_; }
  // Hands the job to the driver on this thread when the queue is idle, the job waits for nothing and such calls have been
  // quick; else the executor does. One of the threads that issue the session's commands.
  void Enqueue(QueueJob job);

  // Attending: the thread that hands a submit to an idle queue looks after it for a moment, before the watcher is woken.
  // Whether this thread does, from now on. It calls Attend() before it sleeps, and LeaveAttended() before it does anything else
  // that may take time.
  // With `stays`, where nobody is told of completions, it does so for a little longer between commands as well: a watcher that
  // is woken for what has ended by then takes the time of whoever waits for memory that the device writes.
  static void SetAttends(bool attends, bool stays = false);
  // Looks at what this thread handed over last until that has completed, or `has_news`, or a moment has passed.
  static void Attend(const std::function<bool()>& has_news);
  // What this thread handed over is the watcher's now, unless it stays.
  static void LeaveAttended();

  // What it cost: submits that were handed over by threads that enqueued them, those whose end these noticed, and how often the
  // executor was woken.
  struct Counts {
    std::atomic<uint64_t> at_once = 0;
    std::atomic<uint64_t> attended = 0;
    std::atomic<uint64_t> executor_wakes = 0;
  };
  const Counts& counts() const { return counts_; }

  // Calls `done` once the submit of that number has completed, which may be before this returns, or when the device is lost or
  // the queue stops. On the thread that notices.
  void WhenCompleted(uint64_t serial, std::function<void()> done);
  // The same, but after the submit has completed and before the client is told, where that is still to come. It must not wait.
  void WithCompletion(uint64_t serial, std::function<void()> done);
  // The same, once the submit has been handed to the driver.
  void WhenHandedOver(uint64_t serial, std::function<void()> done);
  bool IsIdle();
  // Waits until every job was handed over and completed. False when nothing moves for `timeout`, or the device is lost.
  bool Drain(std::chrono::milliseconds timeout);
  // A fence of ours, unsignalled, for one job.
  VkFence TakeFence();

 private:
  enum class Until : uint8_t { kHandedOver, kCompleted, kTold };
  struct Waiter {
    uint64_t serial;
    Until until;
    std::function<void()> done;
  };
  void Execute();
  bool IsQuick(const QueueJob& job) const VESPER_REQUIRES(mutex_);
  // Gives up the lock meanwhile.
  void HandOver(QueueJob job, bool attends) VESPER_REQUIRES(mutex_);
  void AttendFront(const std::function<bool()>& has_news);
  bool MayAttend() VESPER_REQUIRES(mutex_);
  bool TryCompleteFront();
  void LeaveToWatcher();
  void CallWatcher();
  void LookForWork();
  void Watch();
  // Waits for the front of `watched_`, giving up the lock meanwhile. The number of entries that completed, 0 when the queue
  // stops or the device is lost.
  size_t AwaitFront() VESPER_REQUIRES(mutex_);
  bool Drained() const VESPER_REQUIRES(mutex_) { return jobs_.empty() && !executing_ && watched_.empty(); }
  VkResult Await(const QueueJob& job, uint64_t timeout_ns);
  VkResult AwaitExchanging(const QueueJob& job);
  bool WatchClosely(const QueueJob& job);
  void Complete(std::vector<QueueJob> jobs);
  void AddWaiter(Waiter waiter);
  void RunWaiters();
  // Those that want to hear of the completion of the submits up to that number before the client does.
  void RunWaitersAhead(uint64_t completed);
  template <typename IsReady>
  void RunThose(IsReady is_ready);

  Device* const device_;
  const VkQueue queue_;
  const ObjectId id_;
  VkSemaphore timeline_ = VK_NULL_HANDLE;
  std::atomic<uint64_t> last_serial_ = 0;

  Mutex mutex_;
  // Each is notified only when who waits there has something to do.
  Condition to_execute_;                                    // the executor: a job, and nobody inside the driver
  Condition to_watch_;                                      // the watcher: something that nobody attends
  Condition progress_;                                      // Drain()
  std::deque<QueueJob> jobs_ VESPER_GUARDED_BY(mutex_);     // to be handed over
  std::deque<QueueJob> watched_ VESPER_GUARDED_BY(mutex_);  // handed over, not completed
  std::vector<Waiter> waiters_ VESPER_GUARDED_BY(mutex_);
  std::vector<VkFence> fences_ VESPER_GUARDED_BY(mutex_);  // of ours, free
  uint64_t completed_ VESPER_GUARDED_BY(mutex_) = 0;
  uint64_t handed_over_ VESPER_GUARDED_BY(mutex_) = 0;
  bool executing_ VESPER_GUARDED_BY(mutex_) = false;  // one thread at a time calls the driver for the queue
  // Until then the executor makes all calls: one took long.
  std::chrono::steady_clock::time_point quick_again_ VESPER_GUARDED_BY(mutex_){};
  // The front of `watched_` is looked after by the thread that handed it over.
  bool attended_ VESPER_GUARDED_BY(mutex_) = false;
  unsigned in_vain_ = 0;  // attended submits in a row that did not end in time; the attending thread's
  Counts counts_;
  std::atomic<uint32_t> calls_ = 0;  // of the watcher
  std::atomic<bool> stopping_ = false;
  std::thread executor_;
  std::thread watcher_;
};

}  // namespace vesper::server
