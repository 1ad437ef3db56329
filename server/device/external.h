// Handles of the operating system that a client could export or import: those alone that an offered extension hands out.
#pragma once

#include <vulkan/vulkan.h>

namespace vesper::server {

bool IsOffered(VkExternalMemoryHandleTypeFlagBits type);

// Takes from a driver's answer about `asked` what nobody can use.
void KeepOffered(VkExternalMemoryHandleTypeFlagBits asked, VkExternalMemoryProperties* properties);
void KeepOffered(VkExternalSemaphoreHandleTypeFlagBits asked, VkExternalSemaphoreProperties* properties);
void KeepOffered(VkExternalFenceHandleTypeFlagBits asked, VkExternalFenceProperties* properties);

}  // namespace vesper::server
