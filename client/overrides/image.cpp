// Images that are to be made as those of a swapchain.
#include "client/objects/object.h"
#include "client/session/call.h"
#include "client/session/session.h"
#include "client/wsi/swapchain.h"
#include "generated/client/entry_points.h"
#include "generated/client/overrides.h"
#include "runtime/vk/chain.h"

namespace vesper::client {
namespace {

// The swapchain whose memory the image is meant for, or nullptr.
const SwapchainState* SwapchainOf(const States& states, const void* chain) {
  const auto* of = FindInChain<VkImageSwapchainCreateInfoKHR>(chain, VK_STRUCTURE_TYPE_IMAGE_SWAPCHAIN_CREATE_INFO_KHR);
  return of == nullptr || of->swapchain == VK_NULL_HANDLE ? nullptr : states.Get<SwapchainState>(of->swapchain);
}

}  // namespace

namespace overrides {

VKAPI_ATTR VkResult VKAPI_CALL CreateImage(VkDevice device, const VkImageCreateInfo* pCreateInfo,
                                           const VkAllocationCallbacks* pAllocator, VkImage* pImage) {
  const SwapchainState* swapchain = SwapchainOf(SessionOf(device).states(), pCreateInfo->pNext);
  // Equal parameters are required; ours say so to the last flag, and equal images fit equal memory.
  return entry::CreateImage(device, swapchain == nullptr ? pCreateInfo : &swapchain->image_info(), pAllocator, pImage);
}

}  // namespace overrides
}  // namespace vesper::client
