// Looking into and changing pNext chains that the server decoded, which are its own to change.
#pragma once

#include <vulkan/vulkan.h>

namespace vesper::server {

// The first member of that type, or nullptr.
template <typename T>
T* FindInChain(const void* chain, VkStructureType type) {
  auto* member = const_cast<VkBaseOutStructure*>(static_cast<const VkBaseOutStructure*>(chain));
  while (member != nullptr && member->sType != type) member = member->pNext;
  return reinterpret_cast<T*>(member);
}

// Removes the members of that type; the chain is changed in place.
inline const void* WithoutMember(const void* chain, VkStructureType type) {
  auto* head = const_cast<VkBaseOutStructure*>(static_cast<const VkBaseOutStructure*>(chain));
  VkBaseOutStructure** link = &head;
  while (*link != nullptr) {
    if ((*link)->sType == type) {
      *link = (*link)->pNext;
    } else {
      link = &(*link)->pNext;
    }
  }
  return head;
}

// Whether its function is the application's, which the server has not put its own in place of.
inline bool CallsNobody(const VkBaseOutStructure* member) {
  switch (member->sType) {
    case VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT:
      return reinterpret_cast<const VkDebugUtilsMessengerCreateInfoEXT*>(member)->pfnUserCallback == nullptr;
    case VK_STRUCTURE_TYPE_DEBUG_REPORT_CALLBACK_CREATE_INFO_EXT:
      return reinterpret_cast<const VkDebugReportCallbackCreateInfoEXT*>(member)->pfnCallback == nullptr;
    default:
      return false;
  }
}

// Removes members with functions that are nobody's or of the client's layers; the chain is changed
// in place.
inline const void* WithoutCallbacks(const void* chain) {
  auto* head = const_cast<VkBaseOutStructure*>(static_cast<const VkBaseOutStructure*>(chain));
  VkBaseOutStructure** link = &head;
  while (*link != nullptr) {
    switch ((*link)->sType) {
      case VK_STRUCTURE_TYPE_DEVICE_DEVICE_MEMORY_REPORT_CREATE_INFO_EXT:
      case VK_STRUCTURE_TYPE_DIRECT_DRIVER_LOADING_LIST_LUNARG:
      case VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT:
      case VK_STRUCTURE_TYPE_VALIDATION_FLAGS_EXT:
        *link = (*link)->pNext;
        break;
      default:
        if (CallsNobody(*link)) {
          *link = (*link)->pNext;
        } else {
          link = &(*link)->pNext;
        }
    }
  }
  return head;
}

}  // namespace vesper::server
