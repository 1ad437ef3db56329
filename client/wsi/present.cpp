#include "client/wsi/present.h"

#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "client/base/log.h"
#include "client/objects/sync.h"
#include "client/session/session.h"
#include "client/wsi/presenter.h"
#include "client/wsi/swapchain.h"
#include "generated/client/overrides.h"
#include "runtime/vk/chain.h"

namespace vesper::client {
namespace {

SwapchainState* StateOf(const Queue* queue, VkSwapchainKHR swapchain) {
  return queue->session->states().Get<SwapchainState>(swapchain);
}

// The images of one vkQueuePresentKHR.
struct Presented {
  Presented() = default;
  ~Presented() {
    for (size_t i = 0; i < pictures.size(); ++i) {
      if (swapchains[i] != nullptr) swapchains[i]->presenter->ReturnPicture(pictures[i]);
    }
  }
  Presented(const Presented&) = delete;
  Presented& operator=(const Presented&) = delete;

  std::vector<SwapchainState*> swapchains;  // nullptr: not presented, or its presenter has it
  std::vector<uint32_t> pictures;           // where each is copied to
  std::vector<VkCommandBuffer> commands;
};

VkResult Collect(Queue* queue, const VkPresentInfoKHR& info, Presented* presented) {
  presented->swapchains.reserve(info.swapchainCount);
  presented->pictures.reserve(info.swapchainCount);
  for (uint32_t i = 0; i < info.swapchainCount; ++i) {
    SwapchainState* swapchain = StateOf(queue, info.pSwapchains[i]);
    if (swapchain == nullptr || !swapchain->presenter->IsAcquired(info.pImageIndices[i])) {
      Log(LogLevel::kError, "vkQueuePresentKHR: image %u is not the application's to present", info.pImageIndices[i]);
      swapchain = nullptr;
    }
    presented->swapchains.push_back(swapchain);
    presented->pictures.push_back(swapchain == nullptr ? 0 : swapchain->presenter->TakePicture());
    if (swapchain == nullptr) continue;
    VkCommandBuffer commands = VK_NULL_HANDLE;
    const VkResult result = CopyCommands(swapchain, queue->info.queueFamilyIndex, info.pImageIndices[i],
                                         presented->pictures.back(), &commands);
    if (result < 0) return result;
    if (commands != VK_NULL_HANDLE) presented->commands.push_back(commands);
  }
  return VK_SUCCESS;
}

// One submit waits for the application's semaphores and copies all images. Fences that swapchains want are signalled with it:
// then nothing that the application gave to this presenting is in use any more.
VkResult SubmitCopies(Queue* queue, const VkPresentInfoKHR& info, const Presented& presented, SubmitPoint* at) {
  const std::vector<VkPipelineStageFlags> stages(info.waitSemaphoreCount, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT);
  VkSubmitInfo batch{};
  batch.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
  batch.waitSemaphoreCount = info.waitSemaphoreCount;
  batch.pWaitSemaphores = info.pWaitSemaphores;
  batch.pWaitDstStageMask = stages.data();
  batch.commandBufferCount = static_cast<uint32_t>(presented.commands.size());
  batch.pCommandBuffers = presented.commands.data();
  const auto* fences =
      FindInChain<VkSwapchainPresentFenceInfoEXT>(info.pNext, VK_STRUCTURE_TYPE_SWAPCHAIN_PRESENT_FENCE_INFO_EXT);
  const uint32_t count = fences == nullptr ? 0 : fences->swapchainCount;
  const auto handle = ToHandle<VkQueue>(queue);
  VkResult result = overrides::QueueSubmit(handle, 1, &batch, count == 0 ? VK_NULL_HANDLE : fences->pFences[0]);
  for (uint32_t i = 1; i < count && result >= 0; ++i) {
    if (fences->pFences[i] != VK_NULL_HANDLE) result = overrides::QueueSubmit(handle, 0, nullptr, fences->pFences[i]);
  }
  if (result < 0) return result;
  const std::lock_guard lane(queue->session->connection().lane());
  *at = {queue, queue->submitted};  // the queue is this thread's until the call returns
  return result;
}

// For whoever records the session: where the picture will be. The server passes it over.
void TellFrame(const SwapchainState& swapchain, uint32_t picture, const SubmitPoint& at) {
  wire::PresentedFrame frame;
  frame.queue = at.queue->header.id;
  frame.serial = at.serial;
  if (swapchain.buffer_memory != VK_NULL_HANDLE) {
    frame.memory = IdOf(swapchain.buffer_memory);
    frame.offset = picture * swapchain.buffer_stride;
    frame.width = swapchain.info.extent.width;
    frame.height = swapchain.info.extent.height;
  }
  at.queue->session->PostControl(wire::Control::kFrame, &frame, sizeof(frame));
}

// What the chain says of the swapchain at `i`.
Presenter::Request RequestOf(const VkPresentInfoKHR& info, uint32_t i, uint32_t picture) {
  Presenter::Request request{.index = info.pImageIndices[i], .picture = picture, .id = 0, .mode = std::nullopt};
  for (const VkBaseInStructure& each : ChainOf(info.pNext)) {
    if (each.sType == VK_STRUCTURE_TYPE_PRESENT_ID_KHR) {
      const auto& ids = As<VkPresentIdKHR>(each);
      if (ids.pPresentIds != nullptr && i < ids.swapchainCount) request.id = ids.pPresentIds[i];
    } else if (each.sType == VK_STRUCTURE_TYPE_SWAPCHAIN_PRESENT_MODE_INFO_EXT) {
      const auto& modes = As<VkSwapchainPresentModeInfoEXT>(each);
      if (i < modes.swapchainCount) request.mode = modes.pPresentModes[i];
    }
  }
  return request;
}

// Errors before the first suboptimal, which is before success.
VkResult Worse(VkResult one, VkResult other) {
  if (one < 0) return one;
  return other < 0 || one == VK_SUCCESS ? other : one;
}

}  // namespace

VkResult Present(Queue* queue, const VkPresentInfoKHR& info) {
  Presented presented;
  SubmitPoint at;
  VkResult result = Collect(queue, info, &presented);
  if (result >= 0) result = SubmitCopies(queue, info, presented, &at);
  VkResult worst = result;
  for (uint32_t i = 0; i < info.swapchainCount; ++i) {
    VkResult own = result;
    if (result >= 0) {
      SwapchainState* swapchain = std::exchange(presented.swapchains[i], nullptr);
      if (swapchain != nullptr) TellFrame(*swapchain, presented.pictures[i], at);
      own = swapchain == nullptr ? VK_ERROR_OUT_OF_DATE_KHR
                                 : swapchain->presenter->Present(RequestOf(info, i, presented.pictures[i]), at);
    }
    if (info.pResults != nullptr) info.pResults[i] = own;
    worst = Worse(worst, own);
  }
  return worst;
}

}  // namespace vesper::client
