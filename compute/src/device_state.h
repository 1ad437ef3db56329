// What a Device is: everything that buffers, kernels and submissions share. The one place that
// submits, so that the order of work on each buffer is decided under one lock.
#pragma once

#include <vulkan/vulkan.h>

#include <array>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "compute/src/allocator.h"
#include "compute/src/buffer_state.h"
#include "compute/src/command_pools.h"
#include "compute/src/copy_threads.h"
#include "compute/src/download_slots.h"
#include "compute/src/pipeline_cache.h"
#include "compute/src/queue.h"
#include "compute/src/staging.h"
#include "vesper/compute/device.h"
#include "vesper/compute/submission.h"

namespace vesper::compute {

struct BufferAccess {
  std::shared_ptr<BufferState> buffer;
  bool write;
};

// Recorded commands and what the device must know about them.
struct Work {
  VkCommandBuffer commands = VK_NULL_HANDLE;
  std::vector<BufferAccess> accesses;
  bool touches_everything = false;  // accesses are not all
  std::vector<Submission> after;
  std::vector<std::shared_ptr<VkSemaphore>> gates;  // waited for to reach 1
  std::vector<std::shared_ptr<const void>> keep;    // until the work is done
  std::string what;
};

class DeviceState {
 public:
  explicit DeviceState(DeviceOptions options);
  // Waits for all work, then ends everything.
  ~DeviceState();
  DeviceState(const DeviceState&) = delete;
  DeviceState& operator=(const DeviceState&) = delete;

  VkDevice handle() const { return handle_; }
  VkPhysicalDevice physical_device() const { return description_.handle; }
  const std::shared_ptr<Instance>& instance() const { return options_.instance; }
  const DeviceOptions& options() const { return options_; }
  const DeviceDescription& description() const { return description_; }
  const VkPhysicalDeviceProperties& properties() const { return properties_; }
  // Of one buffer, as far as memory goes.
  uint64_t max_buffer_bytes() const { return max_buffer_bytes_; }
  const DeviceFeatures& features() const { return features_; }
  const std::set<std::string>& extensions() const { return extensions_; }
  // One family, or two when copies have their own: what buffers are shared among. Sharing is
  // CONCURRENT then: it costs buffers nothing, and ownership transfers would need a submission on
  // each side.
  const std::vector<uint32_t>& families() const { return families_; }

  Queue& compute() { return *queues_[0]; }
  Queue& transfer() { return *queues_.back(); }
  bool has_transfer_queue() const { return queues_.size() > 1; }
  Allocator& allocator() { return *allocator_; }
  PipelineCache& pipeline_cache() { return *pipeline_cache_; }
  CommandPools& command_pools() { return *command_pools_; }
  // Made when first needed. Throws AllocationFailed.
  StagingRing& staging();
  DownloadSlots& download_slots();
  CopyThreads& copy_threads() { return copy_threads_; }
  std::filesystem::path CacheFile(const std::string& stem, const std::string& suffix) const;

  // Hands `work` to `queue`, behind everything of the other queue that it depends on, and returns
  // the value of the queue's timeline at which it is done. Throws ExecutionFailed; SyncError when
  // the device is too far behind for too long.
  uint64_t Submit(Queue& queue, Work work);

  // Waits for uses of `buffer`: for writes only, or for all.
  void WaitForUses(const BufferState& buffer, bool only_writes, std::chrono::nanoseconds timeout);
  // Throws as Submission::Wait; `what` names what was waited for.
  void Wait(Queue& queue, uint64_t value, std::chrono::nanoseconds timeout, const std::string& what);
  void Sync(std::chrono::nanoseconds timeout);
  // Lets go of what finished work kept alive.
  void Collect();

 private:
  // The values of the queues' timelines that `work` has to wait for. With submit_mutex_ held.
  std::array<uint64_t, kMaxQueues> ValuesToAwait(const Work& work) const;

  void CreateParts();
  void Destroy();
  void LimitPending(Queue& queue);

  DeviceOptions options_;
  DeviceDescription description_;
  VkPhysicalDeviceProperties properties_ = {};
  uint64_t max_buffer_bytes_ = 0;
  DeviceFeatures features_;
  std::set<std::string> extensions_;
  std::vector<uint32_t> families_;
  VkDevice handle_ = VK_NULL_HANDLE;
  std::string uuids_;
  std::filesystem::path cache_folder_;  // empty: nothing is kept

  std::unique_ptr<Allocator> allocator_;
  std::unique_ptr<PipelineCache> pipeline_cache_;
  std::vector<std::unique_ptr<Queue>> queues_;
  std::shared_ptr<CommandPools> command_pools_;
  std::mutex staging_mutex_;
  std::unique_ptr<StagingRing> staging_;
  std::unique_ptr<DownloadSlots> download_slots_;
  CopyThreads copy_threads_;
  std::mutex submit_mutex_;
};

// A command buffer of the calling thread while it is recorded: submitted, or else dropped.
class Recording {
 public:
  // Throws CommandBufferError.
  Recording(DeviceState* device, Queue* queue);
  ~Recording();
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  VkCommandBuffer commands() const { return commands_; }
  // Ends recording; work.commands is filled in here. Throws CommandBufferError and as Submit.
  uint64_t Submit(Work work);

 private:
  DeviceState* const device_;
  Queue* const queue_;
  CommandPool& pool_;
  VkCommandBuffer commands_ = VK_NULL_HANDLE;
};

// Makes all earlier writes of shaders and copies visible to all later commands.
void FullBarrier(VkCommandBuffer commands);
// Makes them visible to the host, once it has learnt of completion.
void HostBarrier(VkCommandBuffer commands);

}  // namespace vesper::compute
