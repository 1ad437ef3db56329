// Allocating without waiting; see client/objects/memory_credit.h. Any thread.
#pragma once

#include <vulkan/vulkan.h>

#include "client/objects/object.h"

namespace vesper::client {

// Memory as `info` wants it, sent for without waiting, with its number among such; or null: then the caller asks, and what is kept for
// the program is enlarged for next time.
VkDeviceMemory AllocateOnCredit(Device* device, const VkMemoryAllocateInfo& info, uint64_t* number) noexcept;
// Before an allocation fails: what is kept for the program is given back. False when there is none.
bool GiveUpCredit(Device* device) noexcept;

}  // namespace vesper::client
