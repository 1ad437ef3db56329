// Taking and giving back spare memory; see client/objects/spare_memory.h. Any thread.
#pragma once

#include <vulkan/vulkan.h>

#include "client/objects/object.h"

namespace vesper::client {

// Memory as `info` wants it that was allocated ahead, or null: then the caller allocates. Waits for what has been asked for.
VkDeviceMemory TakeSpareMemory(Device* device, const VkMemoryAllocateInfo& info) noexcept;
// The program has allocated so, and the memory is not shared: more of it may be asked for ahead.
void NoteAllocation(Device* device, const VkMemoryAllocateInfo& info) noexcept;
// Before an allocation fails, and before the device goes. False when there is none.
bool FreeSpareMemory(Device* device) noexcept;

}  // namespace vesper::client
