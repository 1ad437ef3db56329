// A VkInstance and a VkDevice of a session as the server sees them: how to call the driver, and what the server keeps beside
// the client's objects to order submits and to notice completion.
#pragma once

#include <vulkan/vulkan.h>

#include <atomic>
#include <bitset>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "generated/vk/dispatch_table.h"
#include "runtime/mutex.h"
#include "runtime/object_id.h"
#include "server/base/job_pool.h"
#include "server/device/descriptor_pools.h"
#include "server/device/memory_reserve.h"
#include "server/device/needs.h"
#include "server/device/queue.h"
#include "server/memory/import.h"
#include "server/pipelines/pipeline_cache.h"

namespace vesper::server {

class Events;
class MemoryTable;
class Device;
struct Instance;

// Whether the driver has that command (a number of this server).
inline bool HasEntry(const vk::DispatchTable& table, size_t command) {
  PFN_vkVoidFunction entry;
  std::memcpy(&entry, reinterpret_cast<const char*>(&table) + vk::kDispatchOffsets[command], sizeof(entry));
  return entry != nullptr;
}

// What the handle table keeps for each dispatchable object.
struct DispatchContext {
  vk::DispatchTable table{};
  Instance* instance = nullptr;
  Device* device = nullptr;            // null for instances and physical devices
  NeedSet enabled;                     // what the client may use of extensions
  std::bitset<kCommandCount> plain{};  // plain and light commands that may be used and that the driver has
};

struct Instance {
  VkInstance handle = VK_NULL_HANDLE;
  DispatchContext context;
  NeedSet enabled;                                 // by its own extensions alone
  std::vector<VkPhysicalDevice> physical_devices;  // those offered, best first
  const VkInstanceCreateInfo* wanted = nullptr;    // what it was made of, as long as `creation` lives
  std::shared_ptr<const void> creation{};
};

// Owned by the session, whose reader makes and destroys it. Members that only the reader calls are marked; the others may be
// called from any thread. Each of the three locks guards the members behind it, and none is taken under another or held while
// somebody is waited for.
class Device {
 public:
  struct Parts {
    VkDevice handle = VK_NULL_HANDLE;
    VkPhysicalDevice physical_device = VK_NULL_HANDLE;
    ObjectId id = kNullObject;
    Instance* instance = nullptr;
    bool timeline = false;           // timeline semaphores are enabled
    NeedSet enabled;                 // what the client may use of extensions
    std::vector<uint32_t> queues{};  // made of each family
    Events* events = nullptr;
    MemoryTable* memories = nullptr;
    PipelineShelf* shelf = nullptr;  // where pipelines are kept from session to session; null: nowhere
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
  uint32_t api_version() const { return api_version_; }
  bool is_cpu() const { return type_ == VK_PHYSICAL_DEVICE_TYPE_CPU; }

  DescriptorPools& descriptor_pools() { return descriptor_pools_; }
  MemoryReserve& memory_reserve() { return memory_reserve_; }
  PipelineCache& pipelines() { return *pipelines_; }

  // The threads of a queue, started on first use.
  Queue& QueueOf(VkQueue queue, ObjectId id);
  // Reader: waits until all submits have completed, or nothing moves for a while.
  void Drain();
  // Reader: ends the queues' threads, and waits for what they have others do; before the driver's device is destroyed.
  void StopQueues();
  // Whether all that was submitted has completed, and the client been told.
  bool IsIdle();
  // Reader: `done` is called when everything submitted so far has completed, which may be before this returns.
  void WhenIdle(std::function<void()> done);

  // Tells the client, once, that the device is lost; jobs to come are dropped.
  void Lose(const std::string& why);
  bool lost() const { return lost_; }

  // Executors call the first when a job that may write memory is about to be handed to the driver, watchers the second when
  // so many of these have completed.
  void WorkBegins() {
    ++running_;  // ahead of begun_, which ScanMemory() reads first
    ++begun_;
  }
  void WorkEnded(uint64_t jobs) { running_ -= jobs; }
  // Watchers: sends what the GPU wrote to memory that the client has mapped, unless nothing ran since that was last done.
  void ScanMemory();
  // The same for a command that the CPU carried out.
  void ScanAfterHostAccess() {
    ++begun_;
    ScanMemory();
  }
  // Whether the GPU may have written what ScanMemory() would send.
  bool MayOweMemory() const;
  // Calls `tell` on a thread that does nothing else, after ScanMemory(): for answers that programs take for a sign that
  // memory was written.
  void TellAfterMemory(std::function<void()> tell);
  // Calls `read` on a thread where others of its kind alone may have to wait: for calls that wait for the device in some
  // drivers.
  void ReadAside(std::function<void()> read) { readers_.Post(std::move(read)); }
  // While jobs run, ScanMemory() is due at a bounded interval. How long until then, and calling it if the time has come.
  uint64_t NsToExchange() const;
  void ExchangeMemory();

  // Timeline semaphores have no tickets: a wait may be handed over before its signal.
  void NoteTimeline(VkSemaphore semaphore);
  bool IsTimeline(VkSemaphore semaphore);
  void ForgetSemaphore(VkSemaphore semaphore);
  // The ticket of the submit that signals `semaphore`, which a wait of it may not overtake; null when that was handed over, or
  // there is none.
  std::shared_ptr<Ticket> TakeTicket(VkSemaphore semaphore);
  void LeaveTicket(VkSemaphore semaphore, const std::shared_ptr<Ticket>& ticket);
  // Executors: the ticket's submit was handed over.
  void HandOver(Ticket* ticket);
  // Executors: waits until it was, the device is lost, or `give_up` and WakeExecutors().
  void AwaitHandOver(const Ticket& ticket, const std::atomic<bool>& give_up);
  void WakeExecutors();

  // A fence that a submit was given is watched until its signal was seen. It must not be reset or destroyed before.
  void WatchFence(VkFence fence);
  void UnwatchFence(VkFence fence);
  // Reader: waits until nobody watches the fence, for limits::kFencePatience at most.
  void AwaitUnwatched(VkFence fence);

 private:
  // Those that there are; they stay while the reader calls.
  std::vector<Queue*> Queues();

  const Parts parts_;
  DispatchContext context_;
  VkPhysicalDeviceMemoryProperties memory_properties_{};
  VkPhysicalDeviceLimits limits_{};
  uint32_t api_version_ = VK_API_VERSION_1_0;
  VkPhysicalDeviceType type_ = VK_PHYSICAL_DEVICE_TYPE_OTHER;
  std::unique_ptr<Importer> importer_;
  DescriptorPools descriptor_pools_{&context_.table};
  MemoryReserve memory_reserve_{{.table = &context_.table,
                                 .device = parts_.handle,
                                 .id = parts_.id,
                                 .memory = &memory_properties_,
                                 .events = parts_.events}};
  std::unique_ptr<PipelineCache> pipelines_;
  Mutex semaphores_mutex_;
  std::unordered_set<VkSemaphore> timelines_ VESPER_GUARDED_BY(semaphores_mutex_);
  std::unordered_map<VkSemaphore, std::shared_ptr<Ticket>> tickets_ VESPER_GUARDED_BY(semaphores_mutex_);
  std::atomic<bool> lost_ = false;
  std::atomic<uint64_t> begun_ = 0;    // jobs that may write memory
  std::atomic<uint64_t> running_ = 0;  // of these
  std::atomic<uint64_t> scanned_ = 0;  // value of begun_ up to which all had ended before a scan
  std::atomic<int64_t> exchange_at_ = 0;

  Mutex mutex_;  // also held when a ticket is handed over, so that no executor misses it
  Condition changed_;
  std::unordered_map<VkFence, uint32_t> watched_fences_ VESPER_GUARDED_BY(mutex_);  // and how often
  JobPool readers_{1};
  JobPool tellers_{1};
  Mutex queues_mutex_;
  std::unordered_map<VkQueue, std::unique_ptr<Queue>> queues_
      VESPER_GUARDED_BY(queues_mutex_);  // last: their threads use the rest
};

}  // namespace vesper::server
