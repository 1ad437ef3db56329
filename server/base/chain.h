// What the server leaves out of pNext chains that it decoded, which are its own to change.
#pragma once

#include <vulkan/vulkan.h>

#include "runtime/vk/chain.h"

namespace vesper::server {

// The chain without the members of that type.
inline const void* WithoutMember(const void* chain, VkStructureType type) {
  return Without(chain, [type](const VkBaseOutStructure& member) { return member.sType == type; });
}

// Whether the member's callback is null: it was the application's, and the server has put none of its own in its place.
inline bool CallsNobody(const VkBaseOutStructure& member) {
  switch (member.sType) {
    case VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT:
      return As<VkDebugUtilsMessengerCreateInfoEXT>(member).pfnUserCallback == nullptr;
    case VK_STRUCTURE_TYPE_DEBUG_REPORT_CALLBACK_CREATE_INFO_EXT:
      return As<VkDebugReportCallbackCreateInfoEXT>(member).pfnCallback == nullptr;
    default:
      return false;
  }
}

// The chain without members whose callback is null, without those that speak to the client's loader and layers, and without
// features that the client has itself, of windows for example: the driver may lack them.
inline const void* WithoutCallbacks(const void* chain) {
  return Without(chain, [](const VkBaseOutStructure& member) {
    switch (member.sType) {
      case VK_STRUCTURE_TYPE_DEVICE_DEVICE_MEMORY_REPORT_CREATE_INFO_EXT:
      case VK_STRUCTURE_TYPE_DIRECT_DRIVER_LOADING_LIST_LUNARG:
      case VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT:
      case VK_STRUCTURE_TYPE_VALIDATION_FLAGS_EXT:
      case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DEVICE_MEMORY_REPORT_FEATURES_EXT:
      case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PRESENT_ID_FEATURES_KHR:
      case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PRESENT_WAIT_FEATURES_KHR:
      case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SWAPCHAIN_MAINTENANCE_1_FEATURES_EXT:
        return true;
      default:
        return CallsNobody(member);
    }
  });
}

}  // namespace vesper::server
