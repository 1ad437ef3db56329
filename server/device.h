// A VkInstance and a VkDevice of a session as the server sees them: how to call the driver, and
// what it keeps beside the client's objects to order submits and to notice completion.
#pragma once

#include <vulkan/vulkan.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "generated/vk/dispatch_table.h"
#include "runtime/object_id.h"
#include "server/import.h"
#include "server/queue.h"

namespace vesper::server {

class Events;
class MemoryTable;
class Device;
struct Instance;

// What the handle table keeps for each dispatchable object.
struct DispatchContext {
  vk::DispatchTable table{};
  Instance* instance = nullptr;
  Device* device = nullptr;  // null for instances and physical devices
};

struct Instance {
  VkInstance handle = VK_NULL_HANDLE;
  DispatchContext context;
  std::vector<VkPhysicalDevice> physical_devices;  // those offered, best first
};

// Threading: members called by the reader are marked; the others may be called from any thread.
class Device {
 public:
  struct Parts {
    VkDevice handle = VK_NULL_HANDLE;
    VkPhysicalDevice physical_device = VK_NULL_HANDLE;
    ObjectId id = kNullObject;
    Instance* instance = nullptr;
    bool timeline = false;  // timeline semaphores are enabled
    Events* events = nullptr;
    MemoryTable* memories = nullptr;
  };
  explicit Device(const Parts& parts, PFN_vkGetDeviceProcAddr get_proc_addr);
  ~Device();  // stops the queues' threads
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const Parts& parts() const { return parts_; }
  const DispatchContext& context() const { return context_; }
  const vk::DispatchTable& table() const { return context_.table; }
  VkDevice handle() const { return parts_.handle; }
  // Reader: shared memory of this device; null when there is none.
  Importer* importer() const { return importer_.get(); }
  // Reader: looks for memory types to share; after the constructor, at most once.
  void ShareMemory(SharedBudget* budget);
  const VkPhysicalDeviceMemoryProperties& memory_properties() const { return memory_properties_; }
  const VkPhysicalDeviceLimits& limits() const { return limits_; }
  bool is_cpu() const { return type_ == VK_PHYSICAL_DEVICE_TYPE_CPU; }

  // The threads of a queue, started on first use.
  Queue& QueueOf(VkQueue queue, ObjectId id);
  // Reader: waits until all submits have completed, or nothing moves for a while.
  void Drain();
  // Reader: ends the queues' threads; before the driver's device is destroyed.
  void StopQueues() { queues_.clear(); }
  // Reader: `done` is called when everything submitted so far has completed.
  void WhenIdle(std::function<void()> done);

  // Tells the client, once, that the device is lost; jobs to come are dropped.
  void Lose(const std::string& why);
  bool lost() const { return lost_; }

  // Executors: a job that may write memory is about to be handed to the driver. Watchers: so many
  // have completed.
  void WorkBegins() {
    ++running_;  // first: see ScanMemory()
    ++begun_;
  }
  void WorkEnded(uint64_t jobs) { running_ -= jobs; }
  // Watchers: sends what the GPU wrote to memory that the client has mapped, unless nothing ran
  // since that was last done.
  void ScanMemory();
  // Any thread: the same for a command that the CPU carried out.
  void ScanAfterHostAccess() {
    ++begun_;
    ScanMemory();
  }
  // The same while jobs run, at a bounded interval: how long until it is due, and doing it if it
  // is.
  uint64_t NsToExchange() const;
  void ExchangeMemory();

  // Which semaphores are no binary ones.
  void NoteTimeline(VkSemaphore semaphore);
  void ForgetSemaphore(VkSemaphore semaphore);
  // The signal that a wait of `semaphore` waits for is in that ticket; null when it was
  // handed over or is none.
  std::shared_ptr<Ticket> TakeTicket(VkSemaphore semaphore);
  void LeaveTicket(VkSemaphore semaphore, const std::shared_ptr<Ticket>& ticket);
  // Executors: a ticket was handed over or everything stops / waits for that, until `give_up`.
  void HandOver(Ticket* ticket);
  void AwaitHandOver(const Ticket& ticket, const std::atomic<bool>& give_up);
  void WakeExecutors();

  // A fence that a submit was given is watched until its signal was seen; it must not be reset or
  // destroyed before.
  void WatchFence(VkFence fence);
  void UnwatchFence(VkFence fence);
  // Reader: waits for that, within reason.
  void AwaitUnwatched(VkFence fence);

 private:
  const Parts parts_;
  DispatchContext context_;
  VkPhysicalDeviceMemoryProperties memory_properties_{};
  VkPhysicalDeviceLimits limits_{};
  VkPhysicalDeviceType type_ = VK_PHYSICAL_DEVICE_TYPE_OTHER;
  std::unique_ptr<Importer> importer_;
  std::mutex semaphores_mutex_;
  std::unordered_set<VkSemaphore> timelines_;
  std::unordered_map<VkSemaphore, std::shared_ptr<Ticket>> tickets_;
  std::atomic<bool> lost_ = false;
  std::atomic<uint64_t> begun_ = 0;    // jobs that may write memory
  std::atomic<uint64_t> running_ = 0;  // of these
  std::atomic<uint64_t> scanned_ = 0;  // value of begun_ up to which all had ended before a scan
  std::atomic<int64_t> exchange_at_ = 0;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::unordered_map<VkFence, uint32_t> watched_fences_;
  std::mutex queues_mutex_;
  std::unordered_map<VkQueue, std::unique_ptr<Queue>> queues_;  // last: their threads use the rest
};

}  // namespace vesper::server
