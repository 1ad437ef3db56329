#include "client/overrides/uploads.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <utility>
#include <vector>

#include "client/base/limits.h"
#include "client/objects/sync.h"
#include "client/overrides/guard.h"
#include "client/session/call.h"
#include "client/session/session.h"
#include "generated/client/entry_points.h"
#include "generated/client/overrides.h"
#include "generated/wire/command.h"
#include "generated/wire/sync.h"

namespace vesper::client {
namespace {

// One region with its bytes found, which lie at `data` as long as the program leaves them alone.
struct FoundCopy {
  BufferCopy copy;
  MemoryRange place;  // of the target
  const uint8_t* data = nullptr;
};

struct FoundCopies {
  std::array<FoundCopy, limits::kUploadCopies> copies;
  size_t count = 0;
  uint64_t bytes = 0;
};

const MemoryState* MemoryOf(const States& states, const BufferState* buffer, uint64_t offset, uint64_t size) {
  if (buffer == nullptr || buffer->memory == kNullObject || offset > buffer->size || size > buffer->size - offset)
    return nullptr;
  const auto* memory = states.Get<MemoryState>(HandleOf<VkDeviceMemory>(buffer->memory));
  if (memory == nullptr || memory->foreign || memory->imported != nullptr) return nullptr;
  const bool inside = buffer->offset <= memory->size && offset + size <= memory->size - buffer->offset;
  return inside ? memory : nullptr;
}

// No work but uploads is under way: what comes after them is told apart by nothing, and the sources hold what the device wrote.
bool IsQuiet(Device* device) {
  const MutexLock queues(device->queues_mutex);
  std::unique_lock lane(device->session->connection().lane());
  const auto quiet = [](const auto& queue) { return queue->completed >= queue->ordinary; };
  if (std::all_of(device->queues.begin(), device->queues.end(), quiet)) return true;
  device->session->connection().TryPoll(lane);
  return std::all_of(device->queues.begin(), device->queues.end(), quiet);
}

std::vector<Queue*> QueuesOf(Device* device) {
  std::vector<Queue*> queues;
  const MutexLock lock(device->queues_mutex);
  for (const auto& queue : device->queues) queues.push_back(queue.get());
  return queues;
}

bool CanBeAnswered(Device* device, VkFence fence) {
  const auto* state = device->session->states().Get<FenceState>(fence);
  return state != nullptr && state->plain;
}

bool MakePool(Queue* queue, UploadCommands* uploads) {
  if (uploads->pool != VK_NULL_HANDLE) return true;
  VkCommandPoolCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO;
  info.flags = VK_COMMAND_POOL_CREATE_TRANSIENT_BIT | VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT;
  info.queueFamilyIndex = queue->info.queueFamilyIndex;
  return overrides::CreateCommandPool(ToHandle<VkDevice>(queue->device), &info, nullptr, &uploads->pool) == VK_SUCCESS;
}

// A command buffer that is not in use, or nullptr.
UploadCommands::Slot* FreeSlot(Queue* queue, UploadCommands* uploads) {
  uint64_t completed = 0;
  {
    std::unique_lock lane(queue->session->connection().lane());
    completed = queue->completed;
  }
  const auto slot = std::find_if(uploads->slots.begin(), uploads->slots.end(),
                                 [&](const UploadCommands::Slot& each) { return each.serial <= completed; });
  if (slot == uploads->slots.end() || !MakePool(queue, uploads)) return nullptr;
  if (slot->commands != nullptr) return slot;
  VkCommandBufferAllocateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
  info.commandPool = uploads->pool;
  info.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
  info.commandBufferCount = 1;
  const VkResult result = overrides::AllocateCommandBuffers(ToHandle<VkDevice>(queue->device), &info, &slot->commands);
  return result == VK_SUCCESS ? slot : nullptr;
}

// Between everything and everything, as between submits that the host waited for.
void Barrier(VkCommandBuffer commands, VkPipelineStageFlags before, VkPipelineStageFlags after) {
  VkMemoryBarrier barrier{};
  barrier.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
  barrier.srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT;
  barrier.dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT;
  entry::CmdPipelineBarrier(commands, before, after, 0, 1, &barrier, 0, nullptr, 0, nullptr);
}

bool Overlap(const MemoryRange& a, const MemoryRange& b) {
  return a.memory == b.memory && a.offset < b.offset + b.size && b.offset < a.offset + a.size;
}

// What vkCmdUpdateBuffer takes, and no order among the regions.
bool Find(Device* device, const BufferCopy& copy, FoundCopies* found) {
  const States& states = device->session->states();
  if (copy.size == 0 || copy.size % 4 != 0 || copy.target_offset % 4 != 0 || found->count == found->copies.size() ||
      copy.size > limits::kUploadBytes - found->bytes)
    return false;
  const auto* source = states.Get<BufferState>(HandleOf<VkBuffer>(copy.source));
  const auto* target = states.Get<BufferState>(HandleOf<VkBuffer>(copy.target));
  const MemoryState* from = MemoryOf(states, source, copy.source_offset, copy.size);
  const MemoryState* to = MemoryOf(states, target, copy.target_offset, copy.size);
  if (from == nullptr || to == nullptr || !from->visible() || to->visible()) return false;
  const uint64_t at = source->offset + copy.source_offset;
  const uint8_t* data =
      from->shared.valid() ? from->shared.data() + at : device->mapped_memory.Content(*from, at, copy.size);
  const auto end = found->copies.begin() + static_cast<ptrdiff_t>(found->count);
  const MemoryRange place{target->memory, target->offset + copy.target_offset, copy.size};
  const auto overlaps = [&](const FoundCopy& each) { return Overlap(each.place, place); };
  if (data == nullptr || std::any_of(found->copies.begin(), end, overlaps)) return false;
  *end = {copy, place, data};
  ++found->count;
  found->bytes += copy.size;
  return true;
}

// Opens the next command buffer, if none is open.
bool Open(Queue* queue) VESPER_REQUIRES(queue->submits_mutex) {
  UploadCommands& uploads = queue->uploads;
  if (uploads.open != nullptr) return true;
  UploadCommands::Slot* slot = FreeSlot(queue, &uploads);
  if (slot == nullptr) return false;
  VkCommandBufferBeginInfo begin{};
  begin.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
  begin.flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT;
  if (overrides::BeginCommandBuffer(slot->commands, &begin) != VK_SUCCESS) return false;
  Barrier(slot->commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, VK_PIPELINE_STAGE_TRANSFER_BIT);
  uploads.open = slot;
  uploads.written.clear();
  uploads.bytes = 0;
  return true;
}

// May throw std::bad_alloc, with nothing done.
void Add(UploadCommands* uploads, const FoundCopies& found) {
  const std::span copies(found.copies.data(), found.count);
  uploads->written.reserve(uploads->written.size() + copies.size());
  const auto overlaps = [&](const FoundCopy& each) {
    return std::any_of(uploads->written.begin(), uploads->written.end(),
                       [&](const MemoryRange& before) { return Overlap(before, each.place); });
  };
  const VkCommandBuffer commands = uploads->open->commands;
  if (std::any_of(copies.begin(), copies.end(), overlaps)) {
    Barrier(commands, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_TRANSFER_BIT);
    uploads->written.clear();
  }
  for (const FoundCopy& each : copies) {
    const BufferCopy& copy = each.copy;
    entry::CmdUpdateBuffer(commands, HandleOf<VkBuffer>(copy.target), copy.target_offset, copy.size, each.data);
    uploads->written.push_back(each.place);
  }
  uploads->bytes += found.bytes;
}

bool FamilyCopies(const Queue& queue) {
  const auto device = ToHandle<VkPhysicalDevice>(queue.device->physical_device);
  uint32_t count = 0;
  entry::GetPhysicalDeviceQueueFamilyProperties(device, &count, nullptr);
  std::vector<VkQueueFamilyProperties> families(count);
  entry::GetPhysicalDeviceQueueFamilyProperties(device, &count, families.data());
  constexpr VkQueueFlags kCopies = VK_QUEUE_GRAPHICS_BIT | VK_QUEUE_COMPUTE_BIT | VK_QUEUE_TRANSFER_BIT;
  return queue.info.queueFamilyIndex < count && (families[queue.info.queueFamilyIndex].queueFlags & kCopies) != 0;
}

}  // namespace

void NoteWork(Queue* queue) noexcept {
  Device* const device = queue->device;
  if (device->working_queue.load(std::memory_order_relaxed) == queue) return;
  using Suits = UploadCommands::Suits;
  if (queue->uploads.suits == Suits::kUnknown) {
    bool copies = false;
    const VkResult found = Guarded([&] {
      copies = FamilyCopies(*queue);
      return VK_SUCCESS;
    });
    if (found == VK_SUCCESS) queue->uploads.suits = copies ? Suits::kYes : Suits::kNo;
  }
  if (queue->uploads.suits == Suits::kYes) device->working_queue.store(queue, std::memory_order_release);
}

Queue* UploadQueueFor(Queue* queue) noexcept {
  Queue* const working = queue->device->working_queue.load(std::memory_order_acquire);
  return working == nullptr ? queue : working;
}

bool TakeUpload(Queue* carrier, std::span<const VkCommandBuffer> buffers, VkFence fence) noexcept {
  Device* const device = carrier->device;
  if (carrier->info.flags != 0 || (fence != VK_NULL_HANDLE && !CanBeAnswered(device, fence))) return false;
  FoundCopies found;
  for (const VkCommandBuffer buffer : buffers) {
    for (const BufferCopy& copy : FromHandle<CommandBuffer>(buffer)->copies.copies()) {
      if (!Find(device, copy, &found)) return false;
    }
  }
  if (!IsQuiet(device)) return false;
  if (found.count != 0) {
    if (found.bytes > limits::kUploadBytes - carrier->uploads.bytes && !SubmitUploads(carrier)) return false;
    if (!Open(carrier)) return false;
    const VkResult added = Guarded([&] {
      Add(&carrier->uploads, found);
      return VK_SUCCESS;
    });
    if (added != VK_SUCCESS) return false;
    device->uploading_queue.store(carrier, std::memory_order_release);
  }
  Count(device->session->statistics().uploads);
  if (fence == VK_NULL_HANDLE) return true;
  const std::lock_guard lane(device->session->connection().lane());
  device->session->states().Get<FenceState>(fence)->signalled = true;
  return true;
}

bool SubmitUploads(Queue* carrier) noexcept {
  UploadCommands& uploads = carrier->uploads;
  UploadCommands::Slot* slot = std::exchange(uploads.open, nullptr);
  if (slot == nullptr) return true;
  uploads.bytes = 0;
  Barrier(slot->commands, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT);
  const bool recorded = overrides::EndCommandBuffer(slot->commands) == VK_SUCCESS;
  Session& session = *carrier->session;
  {
    const std::lock_guard lane(session.connection().lane());
    slot->serial = carrier->uploaded = ++carrier->submitted;
    carrier->device->mapped_memory.NoteSubmitted();
  }
  VkSubmitInfo batch{};
  batch.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
  batch.commandBufferCount = 1;
  batch.pCommandBuffers = &slot->commands;
  wire::QueueSubmitArgs args{};
  args.queue = ToHandle<VkQueue>(carrier);
  args.submitCount = 1;
  args.pSubmits = &batch;
  if (recorded && Call(ToHandle<VkQueue>(carrier), Command::kQueueSubmit).Post(&args) == VK_SUCCESS) return true;
  // Its fence was answered: nothing that this device is asked about can be known any more.
  carrier->device->lost.store(true);
  session.connection().NotifyWaiters();
  return false;
}

void AwaitUploads(Device* device) noexcept {
  Queue* const carrier = device->uploading_queue.load(std::memory_order_acquire);
  if (carrier == nullptr || device->session->lost()) return;
  Connection& connection = device->session->connection();
  uint64_t serial = 0;
  {
    const MutexLock submits(carrier->submits_mutex);
    if (!SubmitUploads(carrier)) return;
    serial = carrier->uploaded;
  }
  {
    std::unique_lock lane(connection.lane());
    const auto done = [&] { return device->lost.load() || carrier->completed >= serial; };
    if (!done()) connection.WaitFor(lane, done, Clock::time_point::max());
  }
  const MutexLock submits(carrier->submits_mutex);
  if (carrier->uploads.open == nullptr && carrier->uploaded == serial) {
    Queue* expected = carrier;
    device->uploading_queue.compare_exchange_strong(expected, nullptr);
  }
}

void AwaitUploadsElsewhere(Queue* queue) noexcept {
  const Queue* carrier = queue->device->uploading_queue.load(std::memory_order_acquire);
  if (carrier != nullptr && carrier != queue) AwaitUploads(queue->device);
}

void EndUploads(Device* device) noexcept {
  if (device->session->abandoned()) return;
  AwaitUploads(device);
  Guarded([&] {
    for (Queue* queue : QueuesOf(device)) {
      const MutexLock submits(queue->submits_mutex);
      const VkCommandPool pool = std::exchange(queue->uploads.pool, VK_NULL_HANDLE);
      overrides::DestroyCommandPool(ToHandle<VkDevice>(device), pool, nullptr);
    }
    return VK_SUCCESS;
  });
}

}  // namespace vesper::client
