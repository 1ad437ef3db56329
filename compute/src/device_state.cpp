#include "compute/src/device_state.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "compute/src/check.h"
#include "compute/src/device_builder.h"
#include "compute/src/log.h"

namespace vesper::compute {
namespace {

// How far the host may run ahead of a queue; more would only pile up memory.
constexpr size_t kMaxPending = 1024;

void MemoryBarrier(VkCommandBuffer commands, VkPipelineStageFlags to_stages, VkAccessFlags to) {
  VkMemoryBarrier barrier{VK_STRUCTURE_TYPE_MEMORY_BARRIER};
  barrier.srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT;
  barrier.dstAccessMask = to;
  vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, to_stages, 0, 1, &barrier, 0, nullptr, 0, nullptr);
}

std::string Hex(const uint8_t (&uuid)[VK_UUID_SIZE]) {
  std::string text;
  for (const uint8_t byte : uuid) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", byte);
    text += digits;
  }
  return text;
}

// "" when there is no place for it.
std::filesystem::path DefaultCacheFolder() {
  const auto variable = [](const char* name) {
    const char* const value = std::getenv(name);
    return std::filesystem::path(value != nullptr ? value : "");
  };
  if (auto folder = variable("VESPER_COMPUTE_CACHE"); !folder.empty()) return folder;
  // A relative one is to be ignored, says the XDG base directory specification.
  if (const auto cache = variable("XDG_CACHE_HOME"); cache.is_absolute()) {
    return cache / "vesper-compute";
  }
  if (const auto home = variable("HOME"); home.is_absolute()) {
    return home / ".cache" / "vesper-compute";
  }
  return {};
}

std::string Seconds(std::chrono::nanoseconds time) {
  char text[32];
  std::snprintf(text, sizeof text, "%g s", std::chrono::duration<double>(time).count());
  return text;
}

}  // namespace

void FullBarrier(VkCommandBuffer commands) {
  MemoryBarrier(commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT);
}

void HostBarrier(VkCommandBuffer commands) {
  MemoryBarrier(commands, VK_PIPELINE_STAGE_HOST_BIT, VK_ACCESS_HOST_READ_BIT);
}

DeviceState::DeviceState(DeviceOptions options) : options_(std::move(options)) {
  if (options_.instance == nullptr) options_.instance = Instance::Shared();
  description_ = options_.instance->Select(options_.selector);
  vkGetPhysicalDeviceProperties(description_.handle, &properties_);
  families_ = ChooseQueueFamilies(description_.handle);
  handle_ = CreateVulkanDevice(description_, families_, &features_, &extensions_);
  try {
    CreateParts();
  } catch (...) {
    Destroy();
    throw;
  }
  Log(LogLevel::kInfo,
      "computing with " + description_.name + (has_transfer_queue() ? ", copies on a queue of their own" : ""));
}

void DeviceState::CreateParts() {
  VkPhysicalDeviceMaintenance3Properties limits{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES};
  VkPhysicalDeviceIDProperties ids{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES, &limits};
  VkPhysicalDeviceProperties2 properties{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, &ids};
  vkGetPhysicalDeviceProperties2(description_.handle, &properties);
  max_buffer_bytes_ = limits.maxMemoryAllocationSize;
  uuids_ = Hex(ids.deviceUUID) + "-" + Hex(ids.driverUUID);
  if (options_.keep_pipelines) {
    cache_folder_ = options_.cache_folder.empty() ? DefaultCacheFolder() : options_.cache_folder;
  }
  allocator_ = std::make_unique<Allocator>(description_.handle, handle_, options_.block_bytes);
  pipeline_cache_ = std::make_unique<PipelineCache>(handle_, properties_, CacheFile("pipelines", ".bin"));
  std::vector<Queue*> queues;
  for (uint32_t i = 0; i < families_.size(); ++i) {
    queues_.push_back(std::make_unique<Queue>(handle_, families_[i], i, i == 0 ? "compute" : "transfer"));
    queues.push_back(queues_.back().get());
  }
  command_pools_ = std::make_shared<CommandPools>(handle_, std::move(queues));
}

DeviceState::~DeviceState() {
  // Work that refers to what is about to end must have finished; there is no limit, as there would
  // be nothing to do after it.
  vkDeviceWaitIdle(handle_);
  try {
    pipeline_cache_->Save();
  } catch (const std::exception& error) {
    Log(LogLevel::kWarning, std::string("the pipeline cache is not kept: ") + error.what());
  }
  for (const auto& queue : queues_) {
    std::vector<Queue::Pending> finished;
    queue->Drain(&finished);
  }
  Destroy();
}

void DeviceState::Destroy() {
  if (command_pools_ != nullptr) command_pools_->Close();
  queues_.clear();
  staging_.reset();
  download_slots_.reset();
  pipeline_cache_.reset();
  allocator_.reset();
  vkDestroyDevice(handle_, nullptr);
}

StagingRing& DeviceState::staging() {
  const std::lock_guard lock(staging_mutex_);
  if (staging_ == nullptr) {
    staging_ = std::make_unique<StagingRing>(handle_, allocator_.get(), options_.staging_bytes, families_);
  }
  return *staging_;
}

DownloadSlots& DeviceState::download_slots() {
  const std::lock_guard lock(staging_mutex_);
  if (download_slots_ == nullptr) {
    download_slots_ = std::make_unique<DownloadSlots>(handle_, allocator_.get(), options_.staging_bytes, families_);
  }
  return *download_slots_;
}

std::filesystem::path DeviceState::CacheFile(const std::string& stem, const std::string& suffix) const {
  if (cache_folder_.empty()) return {};
  return cache_folder_ / (stem + "-" + uuids_ + suffix);
}

std::array<uint64_t, kMaxQueues> DeviceState::ValuesToAwait(const Work& work) const {
  std::array<uint64_t, kMaxQueues> values{};
  for (const auto& other : queues_) {
    uint64_t& value = values[other->index()];
    value = work.touches_everything ? other->submitted() : other->everything;
    for (const BufferAccess& access : work.accesses) {
      const BufferState::Uses& uses = access.buffer->uses;
      value = std::max(value, (access.write ? uses.any : uses.write)[other->index()]);
    }
  }
  for (const Submission& after : work.after) {
    if (after.queue() != nullptr) {
      uint64_t& value = values[after.queue()->index()];
      value = std::max(value, after.value());
    }
  }
  return values;
}

uint64_t DeviceState::Submit(Queue& queue, Work work) {
  LimitPending(queue);
  std::vector<Queue::Pending> finished;  // ends after the lock
  const std::lock_guard lock(submit_mutex_);
  queue.Collect(&finished);

  const std::array<uint64_t, kMaxQueues> values = ValuesToAwait(work);
  std::vector<VkSemaphore> semaphores;
  std::vector<uint64_t> wait_values;
  for (const auto& other : queues_) {
    // Commands of the same queue are ordered by the barrier that every command buffer begins with.
    if (other.get() == &queue || other->Reached(values[other->index()])) continue;
    semaphores.push_back(other->timeline());
    wait_values.push_back(values[other->index()]);
  }
  for (const auto& gate : work.gates) {
    semaphores.push_back(*gate);
    wait_values.push_back(1);
    work.keep.push_back(gate);
  }

  const uint64_t value = queue.submitted() + 1;
  const VkSemaphore timeline = queue.timeline();
  const std::vector<VkPipelineStageFlags> stages(semaphores.size(), VK_PIPELINE_STAGE_ALL_COMMANDS_BIT);
  VkTimelineSemaphoreSubmitInfo timelines{VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO};
  timelines.waitSemaphoreValueCount = static_cast<uint32_t>(wait_values.size());
  timelines.pWaitSemaphoreValues = wait_values.data();
  timelines.signalSemaphoreValueCount = 1;
  timelines.pSignalSemaphoreValues = &value;
  VkSubmitInfo info{VK_STRUCTURE_TYPE_SUBMIT_INFO, &timelines};
  info.waitSemaphoreCount = static_cast<uint32_t>(semaphores.size());
  info.pWaitSemaphores = semaphores.data();
  info.pWaitDstStageMask = stages.data();
  info.commandBufferCount = 1;
  info.pCommandBuffers = &work.commands;
  info.signalSemaphoreCount = 1;
  info.pSignalSemaphores = &timeline;
  for (const BufferAccess& access : work.accesses) work.keep.push_back(access.buffer);
  const VkResult result = vkQueueSubmit(queue.handle(), 1, &info, VK_NULL_HANDLE);
  if (result != VK_SUCCESS) {
    throw Error(ErrorCode::ExecutionFailed, "submitting " + work.what, result);
  }

  for (const BufferAccess& access : work.accesses) {
    access.buffer->uses.any[queue.index()] = value;
    if (access.write) access.buffer->uses.write[queue.index()] = value;
  }
  if (work.touches_everything) queue.everything = value;
  queue.Submitted({value, std::move(work.what), std::move(work.keep)});
  return value;
}

void DeviceState::LimitPending(Queue& queue) {
  uint64_t oldest = 0;
  {
    const std::lock_guard lock(submit_mutex_);
    if (queue.pending() < kMaxPending) return;
    oldest = queue.oldest_pending();
  }
  Wait(queue, oldest, options_.timeout, "the oldest of too many submissions");
}

void DeviceState::WaitForUses(const BufferState& buffer, bool only_writes, std::chrono::nanoseconds timeout) {
  uint64_t values[kMaxQueues];
  {
    const std::lock_guard lock(submit_mutex_);
    const BufferState::Uses& uses = buffer.uses;
    for (const auto& queue : queues_) {
      values[queue->index()] = std::max((only_writes ? uses.write : uses.any)[queue->index()], queue->everything);
    }
  }
  for (const auto& queue : queues_) {
    Wait(*queue, values[queue->index()], timeout, "the use of a buffer");
  }
}

void DeviceState::Wait(Queue& queue, uint64_t value, std::chrono::nanoseconds timeout, const std::string& what) {
  const VkResult result = queue.Wait(value, timeout);
  if (result == VK_SUCCESS) return;
  if (result != VK_TIMEOUT) Check(result, ErrorCode::SyncError, ("waiting for " + what).c_str());
  std::string unfinished;
  {
    const std::lock_guard lock(submit_mutex_);
    unfinished = queue.Unfinished(value);
  }
  std::string sentence = "waiting " + Seconds(timeout) + " for " + what + " on the " + queue.name() + " queue";
  if (!unfinished.empty() && unfinished != what) sentence += ", where " + unfinished + " is not done";
  throw Error(ErrorCode::SyncError, sentence, VK_TIMEOUT);
}

void DeviceState::Sync(std::chrono::nanoseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  uint64_t values[kMaxQueues] = {};
  for (const auto& queue : queues_) values[queue->index()] = queue->submitted();
  for (const auto& queue : queues_) {
    const auto left = deadline - std::chrono::steady_clock::now();
    const std::chrono::nanoseconds limit = std::max<std::chrono::nanoseconds>(left, {});
    if (queue->Reached(values[queue->index()])) continue;
    try {
      Wait(*queue, values[queue->index()], limit, "everything submitted");
    } catch (const Error& error) {
      if (error.result() != VK_TIMEOUT) throw;
      const std::lock_guard lock(submit_mutex_);
      throw Error(ErrorCode::SyncError,
                  "waiting " + Seconds(timeout) + " for everything submitted to the " + queue->name() +
                      " queue; not done: " + queue->Unfinished(values[queue->index()]),
                  VK_TIMEOUT);
    }
  }
  Collect();
}

void DeviceState::Collect() {
  std::vector<Queue::Pending> finished;  // ends after the lock
  const std::lock_guard lock(submit_mutex_);
  for (const auto& queue : queues_) queue->Collect(&finished);
}

Recording::Recording(DeviceState* device, Queue* queue)
    : device_(device), queue_(queue), pool_(device->command_pools().ForThisThread(*queue)) {
  commands_ = pool_.Begin();
}

Recording::~Recording() {
  if (commands_ != VK_NULL_HANDLE) pool_.Dropped(commands_);
}

uint64_t Recording::Submit(Work work) {
  Check(vkEndCommandBuffer(commands_), ErrorCode::CommandBufferError, "ending a command buffer");
  work.commands = commands_;
  const uint64_t value = device_->Submit(*queue_, std::move(work));
  pool_.Submitted(commands_, value);
  commands_ = VK_NULL_HANDLE;
  return value;
}

}  // namespace vesper::compute
