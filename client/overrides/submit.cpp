// Submits: sent without waiting, numbered per queue, with what they will signal written down (client/objects/sync.h).
#include <algorithm>
#include <memory>
#include <mutex>
#include <vector>

#include "client/objects/object.h"
#include "client/objects/sync.h"
#include "client/overrides/guard.h"
#include "client/overrides/queries.h"
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

// Counts one submit of `batches` and notes what it signals and which query pools it uses. Before it is sent: its completion may
// come at once.
template <typename Batch>
void Number(Queue* queue, const Batch* batches, uint32_t count, VkFence fence, QueryPoolsUsed* queries) {
  const States& states = queue->session->states();
  const std::lock_guard lane(queue->session->connection().lane());
  const SubmitPoint point{queue, ++queue->submitted};
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

// Posts batches. A batch that signals a timeline is completed, to the host, before what follows it in the
// same submit: the host may have to answer it. Completions are known per submit, so such a batch becomes one of its own.
template <typename Batch>
VkResult Submit(VkQueue handle, const Batch* batches, uint32_t count, VkFence fence) noexcept {
  Queue* queue = FromHandle<Queue>(handle);
  if (queue->session->lost() || queue->device->lost.load()) return VK_ERROR_DEVICE_LOST;
  if (!queue->device->mapped_memory.SendWrites()) return VK_ERROR_DEVICE_LOST;
  NoteSubmit(queue->device);
  const VkResult result = Guarded([&] {
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
      result = PostBatches(handle, batches + first, end - first, part_fence);
      first = end;
    } while (first < count && result == VK_SUCCESS);
    if (result == VK_SUCCESS) queries.AskAhead(queue->device);
    if (queue->device->mapped_memory.WantsExchange()) queue->session->connection().StartPulse();
    return queue->session->connection().Flush() ? result : VK_ERROR_DEVICE_LOST;
  });
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
