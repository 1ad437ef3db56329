// Whether a memory allocation's chain lets others than its device at the memory. Both sides ask: the client for what it may
// take for granted of the contents, the server for what it has to compare.
#pragma once

#include <vulkan/vulkan.h>

#include "runtime/vk/chain.h"

namespace vesper {

// False where all that `chain`, of a VkMemoryAllocateInfo, holds leaves the memory to its device alone.
inline bool IsForeignMemory(const void* chain) {
  for (const VkBaseInStructure& member : ChainOf(chain)) {
    switch (member.sType) {
      case VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO:
      case VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO:
      case VK_STRUCTURE_TYPE_MEMORY_PRIORITY_ALLOCATE_INFO_EXT:
      case VK_STRUCTURE_TYPE_MEMORY_OPAQUE_CAPTURE_ADDRESS_ALLOCATE_INFO:
        break;
      default:
        return true;
    }
  }
  return false;
}

}  // namespace vesper
