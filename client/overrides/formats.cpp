// Formats: whoever asks about one asks about many. With the first question of a kind leave those about all formats of Vulkan 1.0,
// which every device may be asked about.
#include <memory>

#include "client/objects/object.h"
#include "client/overrides/guard.h"
#include "client/session/call.h"
#include "client/session/session.h"
#include "generated/client/entry_points.h"
#include "generated/client/overrides.h"
#include "generated/wire/image.h"

namespace vesper::client::overrides {
namespace {

constexpr int kLastFormat = VK_FORMAT_ASTC_12x12_SRGB_BLOCK;

// But `asked`, which the caller asks for next and waits for, so that the others cost no trip.
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
  const bool flags = chain != nullptr && chain->pNext == nullptr && chain->sType == VK_STRUCTURE_TYPE_FORMAT_PROPERTIES_3;
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

}  // namespace vesper::client::overrides
