// Fences and semaphores: created, reset, signalled and waited for in the client; see client/objects/sync.h.
#include "client/objects/sync.h"

#include <chrono>
#include <memory>
#include <mutex>

#include "client/objects/object.h"
#include "client/overrides/copies_alone.h"
#include "client/overrides/guard.h"
#include "client/session/call.h"
#include "client/session/session.h"
#include "client/wsi/device_windows.h"
#include "generated/client/entry_points.h"
#include "generated/client/overrides.h"
#include "generated/wire/sync.h"
#include "runtime/vk/chain.h"

namespace vesper::client {
namespace {

bool IsLost(const Device& device) { return device.lost.load() || device.session->lost(); }

VkResult ResultOf(const Device& device, WaitOutcome outcome) {
  if (outcome == WaitOutcome::kDone) return VK_SUCCESS;
  return IsLost(device) ? VK_ERROR_DEVICE_LOST : VK_TIMEOUT;
}

// Sleeps until reached() holds, the deadline passes or the device is lost. reached() runs with the lane locked.
template <typename Reached>
VkResult WaitUntil(Device* device, uint64_t timeout, Reached reached) noexcept {
  Connection& connection = device->session->connection();
  if (connection.lost()) return VK_ERROR_DEVICE_LOST;
  std::unique_lock lane(connection.lane());
  if (reached()) return VK_SUCCESS;
  if (timeout == 0) {
    connection.TryPoll(lane);
    if (reached()) return VK_SUCCESS;
    return IsLost(*device) ? VK_ERROR_DEVICE_LOST : VK_TIMEOUT;
  }
  bool done = false;
  const WaitOutcome outcome = connection.WaitFor(
      lane,
      [&] {
        done = reached();
        return done || device->lost.load();
      },
      DeadlineAfter(timeout));
  return done ? VK_SUCCESS : ResultOf(*device, outcome == WaitOutcome::kDone ? WaitOutcome::kLost : outcome);
}

// Ends what the client knows of an object that is being destroyed.
template <typename H>
void ForgetState(Session& session, H handle) {
  if (!session.abandoned()) delete session.states().Remove(IdOf(handle));
}

}  // namespace

namespace overrides {

VKAPI_ATTR VkResult VKAPI_CALL CreateFence(VkDevice device, const VkFenceCreateInfo* pCreateInfo,
                                           const VkAllocationCallbacks* pAllocator, VkFence* pFence) {
  const VkResult result = entry::CreateFence(device, pCreateInfo, pAllocator, pFence);
  if (result < 0) return result;
  const bool signalled = (pCreateInfo->flags & VK_FENCE_CREATE_SIGNALED_BIT) != 0;
  auto* state = new (std::nothrow) FenceState(IdOf(*pFence), signalled, pCreateInfo->pNext == nullptr);
  if (state != nullptr && SessionOf(device).states().Add(state)) return result;
  entry::DestroyFence(device, *pFence, pAllocator);
  *pFence = VK_NULL_HANDLE;
  return VK_ERROR_OUT_OF_HOST_MEMORY;
}

VKAPI_ATTR void VKAPI_CALL DestroyFence(VkDevice device, VkFence fence, const VkAllocationCallbacks* pAllocator) {
  ForgetState(SessionOf(device), fence);
  entry::DestroyFence(device, fence, pAllocator);
}

VKAPI_ATTR VkResult VKAPI_CALL ResetFences(VkDevice device, uint32_t fenceCount, const VkFence* pFences) {
  const VkResult result = entry::ResetFences(device, fenceCount, pFences);
  if (result < 0) return result;
  Session& session = SessionOf(device);
  const std::lock_guard lane(session.connection().lane());
  for (uint32_t i = 0; i < fenceCount; ++i) {
    auto* fence = session.states().Get<FenceState>(pFences[i]);
    if (fence != nullptr) fence->Reset();
  }
  return result;
}

VKAPI_ATTR VkResult VKAPI_CALL GetFenceStatus(VkDevice device, VkFence fence) {
  Device* object = FromHandle<Device>(device);
  const auto* state = object->session->states().Get<FenceState>(fence);
  if (state == nullptr) return VK_ERROR_DEVICE_LOST;
  const VkResult result = WaitUntil(object, 0, [state] { return state->IsSignalled(); });
  return result == VK_TIMEOUT ? VK_NOT_READY : result;
}

VKAPI_ATTR VkResult VKAPI_CALL WaitForFences(VkDevice device, uint32_t fenceCount, const VkFence* pFences,
                                             VkBool32 waitAll, uint64_t timeout) {
  Device* object = FromHandle<Device>(device);
  const States& states = object->session->states();
  return WaitUntil(object, timeout, [&] {
    uint32_t signalled = 0;
    for (uint32_t i = 0; i < fenceCount; ++i) {
      const auto* fence = states.Get<FenceState>(pFences[i]);
      if (fence != nullptr && fence->IsSignalled()) ++signalled;
    }
    return waitAll != VK_FALSE ? signalled == fenceCount : signalled != 0;
  });
}

VKAPI_ATTR VkResult VKAPI_CALL CreateSemaphore(VkDevice device, const VkSemaphoreCreateInfo* pCreateInfo,
                                               const VkAllocationCallbacks* pAllocator, VkSemaphore* pSemaphore) {
  const VkResult result = entry::CreateSemaphore(device, pCreateInfo, pAllocator, pSemaphore);
  const VkSemaphoreTypeCreateInfo* type =
      FindInChain<VkSemaphoreTypeCreateInfo>(pCreateInfo->pNext, VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO);
  if (result < 0 || type == nullptr || type->semaphoreType != VK_SEMAPHORE_TYPE_TIMELINE) return result;
  auto* state = new (std::nothrow) TimelineState(IdOf(*pSemaphore), type->initialValue);
  if (state != nullptr && SessionOf(device).states().Add(state)) return result;
  entry::DestroySemaphore(device, *pSemaphore, pAllocator);
  *pSemaphore = VK_NULL_HANDLE;
  return VK_ERROR_OUT_OF_HOST_MEMORY;
}

VKAPI_ATTR void VKAPI_CALL DestroySemaphore(VkDevice device, VkSemaphore semaphore,
                                            const VkAllocationCallbacks* pAllocator) {
  ForgetState(SessionOf(device), semaphore);
  if (!SessionOf(device).abandoned()) WindowsOf(FromHandle<Device>(device)).acquired.Take(semaphore);
  entry::DestroySemaphore(device, semaphore, pAllocator);
}

VKAPI_ATTR VkResult VKAPI_CALL GetSemaphoreCounterValue(VkDevice device, VkSemaphore semaphore, uint64_t* pValue) {
  Device* object = FromHandle<Device>(device);
  auto* state = object->session->states().Get<TimelineState>(semaphore);
  if (state == nullptr || IsLost(*object)) return VK_ERROR_DEVICE_LOST;
  Connection& connection = object->session->connection();
  std::unique_lock lane(connection.lane());
  if (!state->pending.empty()) connection.TryPoll(lane);
  *pValue = state->Value();
  return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL WaitSemaphores(VkDevice device, const VkSemaphoreWaitInfo* pWaitInfo, uint64_t timeout) {
  Device* object = FromHandle<Device>(device);
  const States& states = object->session->states();
  return WaitUntil(object, timeout, [&] {
    uint32_t reached = 0;
    for (uint32_t i = 0; i < pWaitInfo->semaphoreCount; ++i) {
      auto* semaphore = states.Get<TimelineState>(pWaitInfo->pSemaphores[i]);
      if (semaphore != nullptr && semaphore->Value() >= pWaitInfo->pValues[i]) ++reached;
    }
    return (pWaitInfo->flags & VK_SEMAPHORE_WAIT_ANY_BIT) != 0 ? reached != 0 : reached == pWaitInfo->semaphoreCount;
  });
}

VKAPI_ATTR VkResult VKAPI_CALL SignalSemaphore(VkDevice device, const VkSemaphoreSignalInfo* pSignalInfo) {
  Session& session = SessionOf(device);
  const VkResult result = entry::SignalSemaphore(device, pSignalInfo);
  if (result < 0) return result;
  auto* state = session.states().Get<TimelineState>(pSignalInfo->semaphore);
  if (state != nullptr) {
    const std::lock_guard lane(session.connection().lane());
    state->SignalNow(pSignalInfo->value);
  }
  session.connection().NotifyWaiters();
  session.connection().Flush();
  return result;
}

VKAPI_ATTR VkResult VKAPI_CALL QueueWaitIdle(VkQueue queue) {
  Queue* object = FromHandle<Queue>(queue);
  if (object->session->lost()) return VK_ERROR_DEVICE_LOST;
  uint64_t until = 0;
  {
    const std::lock_guard lane(object->session->connection().lane());
    until = object->submitted;
  }
  return WaitUntil(object->device, UINT64_MAX, [&] { return object->completed >= until; });
}

VKAPI_ATTR VkResult VKAPI_CALL DeviceWaitIdle(VkDevice device) {
  Device* object = FromHandle<Device>(device);
  if (object->session->lost()) return VK_ERROR_DEVICE_LOST;
  return Guarded([&] {
    std::vector<Queue*> queues;
    {
      const MutexLock lock(object->queues_mutex);
      for (const auto& queue : object->queues) queues.push_back(queue.get());
    }
    return WaitUntil(object, UINT64_MAX, [&] {
      return std::all_of(queues.begin(), queues.end(), [](const Queue* q) { return q->completed >= q->submitted; });
    });
  });
}

VKAPI_ATTR void VKAPI_CALL CmdPipelineBarrier(VkCommandBuffer commandBuffer, VkPipelineStageFlags srcStageMask,
                                              VkPipelineStageFlags dstStageMask, VkDependencyFlags dependencyFlags,
                                              uint32_t memoryBarrierCount, const VkMemoryBarrier* pMemoryBarriers,
                                              uint32_t bufferMemoryBarrierCount,
                                              const VkBufferMemoryBarrier* pBufferMemoryBarriers,
                                              uint32_t imageMemoryBarrierCount,
                                              const VkImageMemoryBarrier* pImageMemoryBarriers) {
  RecordAlone(
      commandBuffer,
      [&] {
        entry::CmdPipelineBarrier(commandBuffer, srcStageMask, dstStageMask, dependencyFlags, memoryBarrierCount,
                                  pMemoryBarriers, bufferMemoryBarrierCount, pBufferMemoryBarriers,
                                  imageMemoryBarrierCount, pImageMemoryBarriers);
      },
      [&](CopiesAlone*) {
        return imageMemoryBarrierCount == 0 && KeepTheirFamily(bufferMemoryBarrierCount, pBufferMemoryBarriers);
      });
}

VKAPI_ATTR void VKAPI_CALL CmdPipelineBarrier2(VkCommandBuffer commandBuffer, const VkDependencyInfo* pDependencyInfo) {
  const VkDependencyInfo& info = *pDependencyInfo;
  RecordAlone(
      commandBuffer, [&] { entry::CmdPipelineBarrier2(commandBuffer, pDependencyInfo); },
      [&](CopiesAlone*) {
        return info.pNext == nullptr && info.imageMemoryBarrierCount == 0 &&
               KeepTheirFamily(info.bufferMemoryBarrierCount, info.pBufferMemoryBarriers);
      });
}

}  // namespace overrides
}  // namespace vesper::client
