// The two threads of a VkQueue: one hands submits to the driver in order, so that the session's
// reader never waits for the driver; the other notices their completion, and nothing of the
// application's is waited for but its fence.
#pragma once

#include <vulkan/vulkan.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "generated/vk/dispatch_table.h"
#include "runtime/object_id.h"

namespace vesper::server {

class Device;

// Says whether one submit has been handed to the driver. A wait of a binary semaphore may be handed
// over only after the signal that it waits for.
struct Ticket {
  std::atomic<bool> handed_over = false;
};

// One call to be made on a queue, in order with the others.
struct QueueJob {
  // The driver's call; what it reads belongs to `keeps`. VK_SUCCESS, or the device is lost.
  std::function<VkResult()> call;
  std::shared_ptr<void> keeps;
  const char* name = "";
  std::vector<std::shared_ptr<Ticket>> waits;  // handed over before this one
  std::shared_ptr<Ticket> ticket;
  uint64_t serial = 0;                // 0: nothing that completes, as a label
  bool works = true;                  // false: it only waits and signals, and writes no memory
  VkFence fence = VK_NULL_HANDLE;     // the application's
  VkFence internal = VK_NULL_HANDLE;  // ours, where timeline semaphores are missing
};

class Queue {
 public:
  Queue(Device* device, VkQueue queue, ObjectId id);
  ~Queue();  // stops; jobs that have not been handed over are dropped
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  VkQueue handle() const { return queue_; }
  // The semaphore that counts serials, or null where fences do it.
  VkSemaphore timeline() const { return timeline_; }

  // The next submit's number, which Enqueue() then takes: by one thread at a time.
  uint64_t NextSerial() { return ++last_serial_; }
  uint64_t last_serial() const { return last_serial_; }
  void Enqueue(QueueJob job);

  // Calls `done` once the submit of that number has completed, or at once; on loss and stop as
  // well.
  void WhenCompleted(uint64_t serial, std::function<void()> done);
  // Waits until every job was handed over and completed, or nothing moves for `timeout`. False
  // then.
  bool Drain(std::chrono::milliseconds timeout);
  // A fence of ours, unsignalled, for one job.
  VkFence TakeFence();

 private:
  struct Waiter {
    uint64_t serial;
    std::function<void()> done;
  };
  void Execute();
  void Watch();
  bool AwaitTickets(const QueueJob& job);
  // Waits for the front of `watched_`; the number of entries that completed, 0 when stopping or
  // lost.
  size_t AwaitFront(std::unique_lock<std::mutex>* lock);
  VkResult Await(const QueueJob& job, uint64_t timeout_ns);
  VkResult AwaitExchanging(const QueueJob& job);
  void Complete(std::vector<QueueJob> jobs);
  void RunWaiters();

  Device* const device_;
  const VkQueue queue_;
  const ObjectId id_;
  VkSemaphore timeline_ = VK_NULL_HANDLE;
  std::atomic<uint64_t> last_serial_ = 0;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<QueueJob> jobs_;
  std::deque<QueueJob> watched_;
  std::vector<Waiter> waiters_;
  std::vector<VkFence> fences_;
  uint64_t completed_ = 0;
  bool executing_ = false;
  std::atomic<bool> stopping_ = false;
  std::thread executor_;
  std::thread watcher_;
};

}  // namespace vesper::server
