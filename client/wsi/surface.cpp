#include "client/wsi/surface.h"

#include <array>
#include <cstdint>
#include <iterator>

#include "client/base/limits.h"
#include "generated/client/entry_points.h"
#include "generated/client/overrides.h"

namespace vesper::client {
namespace {

VkFormatFeatureFlags FeaturesOf(VkPhysicalDevice device, VkFormat format) {
  VkFormatProperties properties{};
  entry::GetPhysicalDeviceFormatProperties(device, format, &properties);
  return properties.optimalTilingFeatures;
}

bool IsPresentable(VkFormatFeatureFlags features) {
  constexpr VkFormatFeatureFlags kNeeded = VK_FORMAT_FEATURE_COLOR_ATTACHMENT_BIT;
  return (features & kNeeded) == kNeeded;
}

// What every plain format that is offered allows, but for storage, which formats in sRGB often lack.
VkImageUsageFlags UsageOf(VkPhysicalDevice device) {
  VkImageUsageFlags usage = VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT | VK_IMAGE_USAGE_TRANSFER_SRC_BIT |
                            VK_IMAGE_USAGE_TRANSFER_DST_BIT | VK_IMAGE_USAGE_INPUT_ATTACHMENT_BIT;
  VkFormatFeatureFlags any = 0;
  for (const VkFormat format : kPlainFormats) {
    const VkFormatFeatureFlags features = FeaturesOf(device, format);
    if (IsPresentable(features)) any |= features;
  }
  if ((any & VK_FORMAT_FEATURE_SAMPLED_IMAGE_BIT) != 0) usage |= VK_IMAGE_USAGE_SAMPLED_BIT;
  if ((any & VK_FORMAT_FEATURE_STORAGE_IMAGE_BIT) != 0) usage |= VK_IMAGE_USAGE_STORAGE_BIT;
  return usage;
}

}  // namespace

bool FamilyPresents(VkPhysicalDevice device, uint32_t family) noexcept {
  std::array<VkQueueFamilyProperties, limits::kMaxQueueFamilies> families{};
  auto count = static_cast<uint32_t>(families.size());
  entry::GetPhysicalDeviceQueueFamilyProperties(device, &count, families.data());
  constexpr VkQueueFlags kCopies = VK_QUEUE_GRAPHICS_BIT | VK_QUEUE_COMPUTE_BIT | VK_QUEUE_TRANSFER_BIT;
  return family < count && family < families.size() && (families[family].queueFlags & kCopies) != 0;
}

VkResult SurfaceCapabilities(VkPhysicalDevice device, SurfaceTarget* target,
                             VkSurfaceCapabilitiesKHR* capabilities) noexcept {
  VkPhysicalDeviceProperties properties{};
  overrides::GetPhysicalDeviceProperties(device, &properties);
  const uint32_t largest = properties.limits.maxImageDimension2D;
  *capabilities = {};
  capabilities->minImageCount = limits::kMinImages;
  capabilities->maxImageCount = 0;  // no limit
  capabilities->currentExtent = {UINT32_MAX, UINT32_MAX};
  capabilities->minImageExtent = {1, 1};
  capabilities->maxImageExtent = {largest, largest};
  capabilities->maxImageArrayLayers = 1;
  capabilities->supportedTransforms = VK_SURFACE_TRANSFORM_IDENTITY_BIT_KHR;
  capabilities->currentTransform = VK_SURFACE_TRANSFORM_IDENTITY_BIT_KHR;
  capabilities->supportedCompositeAlpha = VK_COMPOSITE_ALPHA_OPAQUE_BIT_KHR | VK_COMPOSITE_ALPHA_INHERIT_BIT_KHR;
  capabilities->supportedUsageFlags = UsageOf(device);
  if (target == nullptr) return VK_SUCCESS;
  capabilities->supportedCompositeAlpha = target->alphas();
  VkExtent2D extent{};
  const VkResult result = target->Extent(&extent);
  if (result < 0 || extent.width == UINT32_MAX) return result;
  capabilities->currentExtent = extent;
  capabilities->minImageExtent = extent;
  capabilities->maxImageExtent = extent;
  return result;
}

VkResult SurfaceFormats(VkPhysicalDevice device, SurfaceTarget* target, std::vector<VkSurfaceFormatKHR>* formats) {
  std::vector<VkFormat> shown(std::begin(kPlainFormats), std::end(kPlainFormats));
  if (target != nullptr) {
    shown.clear();
    const VkResult result = target->Formats(&shown);
    if (result < 0) return result;
  }
  for (const VkFormat format : shown) {
    if (!IsPresentable(FeaturesOf(device, format))) continue;
    formats->push_back({format, VK_COLOR_SPACE_SRGB_NONLINEAR_KHR});
  }
  return VK_SUCCESS;
}

std::span<const VkPresentModeKHR> SurfaceModes(const SurfaceTarget* target) noexcept {
  static constexpr VkPresentModeKHR kModes[] = {VK_PRESENT_MODE_IMMEDIATE_KHR, VK_PRESENT_MODE_MAILBOX_KHR,
                                                VK_PRESENT_MODE_FIFO_KHR};
  return target == nullptr ? kModes : target->modes();
}

}  // namespace vesper::client
