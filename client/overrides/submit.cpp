// Submits: sent without waiting, numbered per queue, with what they will signal written down (client/objects/sync.h).
#include <algorithm>
#include <array>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "client/objects/object.h"
#include "client/objects/sync.h"
#include "client/overrides/guard.h"
#include "client/overrides/queries.h"
#include "client/overrides/uploads.h"
#include "client/session/call.h"
#include "client/session/session.h"
#include "client/wsi/device_windows.h"
#include "generated/client/overrides.h"
#include "generated/wire/sync.h"
#include "runtime/vk/chain.h"

namespace vesper::client {
namespace {

// Each form of submit says which semaphores its batch signals, to which values.
template <typename Signal>
void ForEachSignal(const VkSubmitInfo2& batch, Signal signal) {
  for (uint32_t i = 0; i < batch.signalSemaphoreInfoCount; ++i) {
    signal(batch.pSignalSemaphoreInfos[i].semaphore, batch.pSignalSemaphoreInfos[i].value);
  }
}

template <typename Batch, typename Signal>
void ForEachSignal(const Batch& batch, Signal signal) {
  const auto* values =
      FindInChain<VkTimelineSemaphoreSubmitInfo>(batch.pNext, VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO);
  for (uint32_t i = 0; i < batch.signalSemaphoreCount; ++i) {
    const bool has_value = values != nullptr && i < values->signalSemaphoreValueCount;
    signal(batch.pSignalSemaphores[i], has_value ? values->pSignalSemaphoreValues[i] : 0);
  }
}

void ForEachWait(const VkSubmitInfo2& batch, auto wait) {
  for (uint32_t i = 0; i < batch.waitSemaphoreInfoCount; ++i) wait(batch.pWaitSemaphoreInfos[i].semaphore);
}

template <typename Batch>
void ForEachWait(const Batch& batch, auto wait) {
  for (uint32_t i = 0; i < batch.waitSemaphoreCount; ++i) wait(batch.pWaitSemaphores[i]);
}

void ForEachCommandBuffer(const VkSubmitInfo2& batch, auto use) {
  for (uint32_t i = 0; i < batch.commandBufferInfoCount; ++i) use(batch.pCommandBufferInfos[i].commandBuffer);
}

void ForEachCommandBuffer(const VkSubmitInfo& batch, auto use) {
  for (uint32_t i = 0; i < batch.commandBufferCount; ++i) use(batch.pCommandBuffers[i]);
}

void ForEachCommandBuffer(const VkBindSparseInfo&, auto) {}

template <typename Batch>
bool SignalsTimeline(const States& states, const Batch& batch) {
  bool found = false;
  ForEachSignal(batch, [&](VkSemaphore semaphore, uint64_t) {
    found = found || states.Get<TimelineState>(semaphore) != nullptr;
  });
  return found;
}

// Whether the batches do nothing but execute command buffers that copy alone, and which. Values of timelines say nothing where
// there are no semaphores.
bool ExecutesAlone(const VkSubmitInfo& batch) {
  const auto* next = static_cast<const VkBaseInStructure*>(batch.pNext);
  const bool plain =
      next == nullptr || (next->sType == VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO && next->pNext == nullptr);
  return plain && batch.waitSemaphoreCount == 0 && batch.signalSemaphoreCount == 0;
}

bool ExecutesAlone(const VkSubmitInfo2& batch) {
  return batch.pNext == nullptr && batch.flags == 0 && batch.waitSemaphoreInfoCount == 0 &&
         batch.signalSemaphoreInfoCount == 0 &&
         std::all_of(batch.pCommandBufferInfos, batch.pCommandBufferInfos + batch.commandBufferInfoCount,
                     [](const VkCommandBufferSubmitInfo& info) { return info.pNext == nullptr; });
}

bool ExecutesAlone(const VkBindSparseInfo&) { return false; }

using Buffers = std::array<VkCommandBuffer, 4>;

// Nothing is a batch of none, too.
template <typename Batch>
std::optional<size_t> CopiesAloneOf(const Batch* batches, uint32_t count, Buffers* buffers) {
  size_t found = 0;
  for (const Batch& batch : std::span(batches, count)) {
    bool alone = ExecutesAlone(batch);
    ForEachCommandBuffer(batch, [&](VkCommandBuffer commands) {
      alone = alone && found < buffers->size() && FromHandle<CommandBuffer>(commands)->copies.ended_alone();
      if (alone) (*buffers)[found++] = commands;
    });
    if (!alone) return std::nullopt;
  }
  return found;
}

// Whether they do more than such copies, as those of a queue that is used for transfers alone do not.
template <typename Batch>
bool Works(const Batch* batches, uint32_t count) {
  bool works = false;
  for (const Batch& batch : std::span(batches, count)) {
    ForEachCommandBuffer(batch, [&](VkCommandBuffer commands) {
      works = works || !FromHandle<CommandBuffer>(commands)->copies.ended_alone();
    });
  }
  return works;
}

// Counts one submit of `batches` and notes what it signals and which query pools it uses. Before it is sent: its completion may
// come at once.
template <typename Batch>
void Number(Queue* queue, const Batch* batches, uint32_t count, VkFence fence, QueryPoolsUsed* queries) {
  const States& states = queue->session->states();
  const std::lock_guard lane(queue->session->connection().lane());
  const SubmitPoint point{queue, ++queue->submitted};
  queue->ordinary = point.serial;
  queue->device->mapped_memory.NoteSubmitted();
  for (uint32_t i = 0; i < count; ++i) {
    ForEachSignal(batches[i], [&](VkSemaphore semaphore, uint64_t value) {
      auto* timeline = states.Get<TimelineState>(semaphore);
      if (timeline != nullptr) timeline->SignalAt(point, value);
    });
    ForEachCommandBuffer(batches[i], [&](VkCommandBuffer commands) {
      queries->Note(states, *FromHandle<CommandBuffer>(commands), point);
    });
  }
  auto* state = fence == VK_NULL_HANDLE ? nullptr : states.Get<FenceState>(fence);
  if (state != nullptr) state->signal = point;
}

// The arguments of a command that hold batches and their number in these members.
template <typename Args, auto batches_member, auto count_member, typename Batch>
Args ArgsFor(VkQueue queue, const Batch* batches, uint32_t count, VkFence fence) {
  Args args{};
  args.queue = queue;
  args.*count_member = count;
  args.*batches_member = batches;
  args.fence = fence;
  return args;
}

VkResult PostBatches(VkQueue queue, const VkSubmitInfo* batches, uint32_t count, VkFence fence) noexcept {
  using Args = wire::QueueSubmitArgs;
  auto args = ArgsFor<Args, &Args::pSubmits, &Args::submitCount>(queue, batches, count, fence);
  return Call(queue, Command::kQueueSubmit).Post(&args);
}

VkResult PostBatches(VkQueue queue, const VkSubmitInfo2* batches, uint32_t count, VkFence fence) noexcept {
  using Args = wire::QueueSubmit2Args;
  auto args = ArgsFor<Args, &Args::pSubmits, &Args::submitCount>(queue, batches, count, fence);
  return Call(queue, Command::kQueueSubmit2).Post(&args);
}

VkResult PostBatches(VkQueue queue, const VkBindSparseInfo* batches, uint32_t count, VkFence fence) noexcept {
  using Args = wire::QueueBindSparseArgs;
  auto args = ArgsFor<Args, &Args::pBindInfo, &Args::bindInfoCount>(queue, batches, count, fence);
  return Call(queue, Command::kQueueBindSparse).Post(&args);
}

// Semaphores of acquired images that the batches wait for are signalled first; see client/wsi/acquired.h.
template <typename Batch>
VkResult SignalAcquired(Queue* queue, const Batch* batches, uint32_t count) {
  AcquiredSemaphores& acquired = WindowsOf(queue->device).acquired;
  if (acquired.empty()) return VK_SUCCESS;
  std::vector<VkSemaphore> signals;
  for (uint32_t i = 0; i < count; ++i) {
    ForEachWait(batches[i], [&](VkSemaphore semaphore) {
      if (acquired.Take(semaphore)) signals.push_back(semaphore);
    });
  }
  if (signals.empty()) return VK_SUCCESS;
  VkSubmitInfo batch{};
  batch.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
  batch.signalSemaphoreCount = static_cast<uint32_t>(signals.size());
  batch.pSignalSemaphores = signals.data();
  QueryPoolsUsed none;
  Number(queue, &batch, 1, VK_NULL_HANDLE, &none);
  return PostBatches(ToHandle<VkQueue>(queue), &batch, 1, VK_NULL_HANDLE);
}

// Where all that they do is a small upload, or nothing behind one: the fence is answered, and nothing is sent.
template <typename Batch>
bool SubmitUpload(Queue* queue, const Batch* batches, uint32_t count, VkFence fence) noexcept {
  Buffers buffers;
  const std::optional<size_t> found = CopiesAloneOf(batches, count, &buffers);
  if (!found.has_value()) return false;
  if (*found == 0 && (fence == VK_NULL_HANDLE || queue->device->uploading_queue.load() == nullptr)) return false;
  Queue* const carrier = UploadQueueFor(queue);
  AwaitUploadsElsewhere(carrier);
  const MutexLock submits(carrier->submits_mutex);
  return TakeUpload(carrier, {buffers.data(), *found}, fence);
}

// What was held back since it might have been an upload.
template <typename Batch>
void SendHeld(Queue* queue, const Batch* batches, uint32_t count) noexcept {
  for (const Batch& batch : std::span(batches, count)) {
    ForEachCommandBuffer(
        batch, [&](VkCommandBuffer commands) { queue->session->SendRecords(FromHandle<CommandBuffer>(commands)); });
  }
}

// Posts batches. A batch that signals a timeline is completed, to the host, before what follows it in the
// same submit: the host may have to answer it. Completions are known per submit, so such a batch becomes one of its own.
template <typename Batch>
VkResult SubmitInOrder(Queue* queue, const Batch* batches, uint32_t count, VkFence fence) noexcept {
  AwaitUploadsElsewhere(queue);
  const MutexLock submits(queue->submits_mutex);
  if (!SubmitUploads(queue) || !queue->device->mapped_memory.SendWrites()) return VK_ERROR_DEVICE_LOST;
  SendHeld(queue, batches, count);
  if (Works(batches, count)) NoteWork(queue);
  return Guarded([&] {
    uint32_t first = 0;
    QueryPoolsUsed queries;
    VkResult result = SignalAcquired(queue, batches, count);
    if (result != VK_SUCCESS) return result;
    do {
      uint32_t end = first;
      while (end < count && !SignalsTimeline(queue->session->states(), batches[end])) ++end;
      end = std::min(count, end + 1);
      const VkFence part_fence = end == count ? fence : VK_NULL_HANDLE;
      Number(queue, batches + first, end - first, part_fence, &queries);
      result = PostBatches(ToHandle<VkQueue>(queue), batches + first, end - first, part_fence);
      first = end;
    } while (first < count && result == VK_SUCCESS);
    if (result == VK_SUCCESS) queries.AskAhead(queue->device);
    if (queue->device->mapped_memory.WantsExchange()) queue->session->connection().StartPulse();
    return queue->session->connection().Flush() ? result : VK_ERROR_DEVICE_LOST;
  });
}

template <typename Batch>
VkResult Submit(VkQueue handle, const Batch* batches, uint32_t count, VkFence fence) noexcept {
  Queue* queue = FromHandle<Queue>(handle);
  if (queue->session->lost() || queue->device->lost.load()) return VK_ERROR_DEVICE_LOST;
  NoteSubmit(queue->device);
  if (SubmitUpload(queue, batches, count, fence)) return VK_SUCCESS;
  const VkResult result = SubmitInOrder(queue, batches, count, fence);
  if (result == VK_SUCCESS) return result;
  // The two sides may count differently from here on: nothing that this device is asked about can be known any more.
  queue->device->lost.store(true);
  queue->session->connection().NotifyWaiters();
  return VK_ERROR_DEVICE_LOST;
}

}  // namespace

namespace overrides {

VKAPI_ATTR VkResult VKAPI_CALL QueueSubmit(VkQueue queue, uint32_t submitCount, const VkSubmitInfo* pSubmits,
                                           VkFence fence) {
  return Submit(queue, pSubmits, submitCount, fence);
}

VKAPI_ATTR VkResult VKAPI_CALL QueueSubmit2(VkQueue queue, uint32_t submitCount, const VkSubmitInfo2* pSubmits,
                                            VkFence fence) {
  return Submit(queue, pSubmits, submitCount, fence);
}

VKAPI_ATTR VkResult VKAPI_CALL QueueBindSparse(VkQueue queue, uint32_t bindInfoCount, const VkBindSparseInfo* pBindInfo,
                                               VkFence fence) {
  FromHandle<Queue>(queue)->device->mapped_memory.NoteAllWritable();
  return Submit(queue, pBindInfo, bindInfoCount, fence);
}

}  // namespace overrides
}  // namespace vesper::client
