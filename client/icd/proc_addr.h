// Which entry points the loader and the application get: none for what the server does not offer or nobody enabled.
#pragma once

#include <vulkan/vulkan.h>

namespace vesper::client {

PFN_vkVoidFunction InstanceProcAddr(VkInstance instance, const char* name) noexcept;
PFN_vkVoidFunction DeviceProcAddr(VkDevice handle, const char* name) noexcept;
// Only commands whose first parameter is a physical device.
PFN_vkVoidFunction PhysicalDeviceProcAddr(VkInstance instance, const char* name) noexcept;

}  // namespace vesper::client
