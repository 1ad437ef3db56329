#include "client/wsi/surface.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "client/base/limits.h"
#include "client/wsi/x11.h"
#include "generated/client/entry_points.h"
#include "generated/client/overrides.h"

namespace vesper::client {
namespace {

// In the order in which they are offered: windows have blue first.
constexpr VkFormat kFormats[] = {VK_FORMAT_B8G8R8A8_SRGB, VK_FORMAT_B8G8R8A8_UNORM, VK_FORMAT_R8G8B8A8_SRGB,
                                 VK_FORMAT_R8G8B8A8_UNORM};

VkFormatFeatureFlags FeaturesOf(VkPhysicalDevice device, VkFormat format) {
  VkFormatProperties properties{};
  entry::GetPhysicalDeviceFormatProperties(device, format, &properties);
  return properties.optimalTilingFeatures;
}

bool IsPresentable(VkFormatFeatureFlags features) {
  constexpr VkFormatFeatureFlags kNeeded = VK_FORMAT_FEATURE_COLOR_ATTACHMENT_BIT;
  return (features & kNeeded) == kNeeded;
}

// What every format that is offered allows, but for storage, which formats in sRGB often lack.
VkImageUsageFlags UsageOf(VkPhysicalDevice device) {
  VkImageUsageFlags usage = VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT | VK_IMAGE_USAGE_TRANSFER_SRC_BIT |
                            VK_IMAGE_USAGE_TRANSFER_DST_BIT | VK_IMAGE_USAGE_INPUT_ATTACHMENT_BIT;
  VkFormatFeatureFlags any = 0;
  for (const VkFormat format : kFormats) {
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

VkResult SurfaceFits(const SurfaceTarget& target, bool* fits) noexcept {
  *fits = true;
  if (target.headless()) return VK_SUCCESS;
  bool opaque = false;
  const std::optional<bool> takes = TakesPixels(target.connection, target.window, &opaque);
  if (!takes) return VK_ERROR_SURFACE_LOST_KHR;
  *fits = *takes;
  return VK_SUCCESS;
}

VkResult SurfaceCapabilities(VkPhysicalDevice device, const SurfaceTarget& target,
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
  if (target.headless()) return VK_SUCCESS;
  const std::optional<XGeometry> geometry = GeometryOf(target.connection, target.window);
  if (!geometry) return VK_ERROR_SURFACE_LOST_KHR;
  capabilities->currentExtent = {geometry->width, geometry->height};
  capabilities->minImageExtent = capabilities->currentExtent;
  capabilities->maxImageExtent = capabilities->currentExtent;
  return VK_SUCCESS;
}

VkResult SurfaceFormats(VkPhysicalDevice device, const SurfaceTarget& target,
                        std::vector<VkSurfaceFormatKHR>* formats) {
  bool fits = false;
  const VkResult result = SurfaceFits(target, &fits);
  if (result < 0 || !fits) return result;
  for (const VkFormat format : kFormats) {
    if (!IsPresentable(FeaturesOf(device, format))) continue;
    formats->push_back({format, VK_COLOR_SPACE_SRGB_NONLINEAR_KHR});
  }
  return result;
}

PixelConversion ConversionOf(VkFormat format, bool opaque) noexcept {
  const bool red_first = format == VK_FORMAT_R8G8B8A8_SRGB || format == VK_FORMAT_R8G8B8A8_UNORM;
  return {.swap_red_blue = red_first, .opaque = opaque};
}

}  // namespace vesper::client
