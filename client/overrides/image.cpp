// Images that are to be made as those of a swapchain, and formats: whoever asks about one asks about many.
#include "generated/wire/image.h"

#include <memory>

#include "client/objects/object.h"
#include "client/overrides/guard.h"
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

// All formats of Vulkan 1.0, which every device may be asked about.
constexpr int kLastFormat = VK_FORMAT_ASTC_12x12_SRGB_BLOCK;

// Asks about all formats but `asked`, which the caller asks for next and waits for, so that the others cost no trip.
template <typename Args>
VkResult AskAboutAll(PhysicalDevice* device, Command command, const Args& asked) {
  const auto trip = std::make_shared<Trip>();
  trip->counted = true;
  Args args = asked;
  for (int format = VK_FORMAT_UNDEFINED + 1; format <= kLastFormat; ++format) {
    args.format = static_cast<VkFormat>(format);
    if (args.format != asked.format) device->session->AskAhead(trip, command, &args);
  }
  return VK_SUCCESS;
}

}  // namespace

namespace overrides {

VKAPI_ATTR void VKAPI_CALL GetPhysicalDeviceFormatProperties(VkPhysicalDevice physicalDevice, VkFormat format,
                                                             VkFormatProperties* pFormatProperties) {
  auto* const device = FromHandle<PhysicalDevice>(physicalDevice);
  if (!device->asked_formats.exchange(true)) {
    wire::GetPhysicalDeviceFormatPropertiesArgs args{};
    args.physicalDevice = physicalDevice;
    args.format = format;
    args.pFormatProperties = pFormatProperties;
    Guarded([&] { return AskAboutAll(device, Command::kGetPhysicalDeviceFormatProperties, args); });
  }
  entry::GetPhysicalDeviceFormatProperties(physicalDevice, format, pFormatProperties);
}

// Chains with the newer flags are common, others are rare.
VKAPI_ATTR void VKAPI_CALL GetPhysicalDeviceFormatProperties2(VkPhysicalDevice physicalDevice, VkFormat format,
                                                              VkFormatProperties2* pFormatProperties) {
  auto* const device = FromHandle<PhysicalDevice>(physicalDevice);
  const auto* const chain = static_cast<const VkBaseOutStructure*>(pFormatProperties->pNext);
  const bool flags =
      chain != nullptr && chain->pNext == nullptr && chain->sType == VK_STRUCTURE_TYPE_FORMAT_PROPERTIES_3;
  if ((chain == nullptr && !device->asked_formats2.exchange(true)) ||
      (flags && !device->asked_formats3.exchange(true))) {
    wire::GetPhysicalDeviceFormatProperties2Args args{};
    args.physicalDevice = physicalDevice;
    args.format = format;
    args.pFormatProperties = pFormatProperties;
    Guarded([&] { return AskAboutAll(device, Command::kGetPhysicalDeviceFormatProperties2, args); });
  }
  entry::GetPhysicalDeviceFormatProperties2(physicalDevice, format, pFormatProperties);
}

VKAPI_ATTR VkResult VKAPI_CALL CreateImage(VkDevice device, const VkImageCreateInfo* pCreateInfo,
                                           const VkAllocationCallbacks* pAllocator, VkImage* pImage) {
  const SwapchainState* swapchain = SwapchainOf(SessionOf(device).states(), pCreateInfo->pNext);
  // Equal parameters are required; ours say so to the last flag, and equal images fit equal memory.
  return entry::CreateImage(device, swapchain == nullptr ? pCreateInfo : &swapchain->image_info(), pAllocator, pImage);
}

}  // namespace overrides
}  // namespace vesper::client
