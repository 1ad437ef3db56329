#include "server/memory/memory_types.h"

#include <algorithm>
#include <span>

namespace vesper::server {

void HideUncachedTypes(VkPhysicalDeviceMemoryProperties* properties) {
  constexpr VkMemoryPropertyFlags kMapped = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
  constexpr VkMemoryPropertyFlags kCheap = kMapped | VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
  const std::span types(properties->memoryTypes, properties->memoryTypeCount);
  const auto is_cheap = [](const VkMemoryType& type) { return (type.propertyFlags & kCheap) == kCheap; };
  if (std::none_of(types.begin(), types.end(), is_cheap)) return;
  for (VkMemoryType& type : types) {
    if ((type.propertyFlags & VK_MEMORY_PROPERTY_HOST_CACHED_BIT) == 0) type.propertyFlags &= ~kMapped;
  }
}

void HideIncoherentTypes(VkPhysicalDeviceMemoryProperties* properties) {
  for (VkMemoryType& type : std::span(properties->memoryTypes, properties->memoryTypeCount)) {
    if ((type.propertyFlags & VK_MEMORY_PROPERTY_HOST_COHERENT_BIT) == 0) {
      type.propertyFlags &= ~VkFlags{VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_CACHED_BIT};
    }
  }
}

}  // namespace vesper::server
