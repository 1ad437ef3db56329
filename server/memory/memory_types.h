// What a client whose mapped memory is not shared with the server is told of a device's memory
// types. Used by the queries and by vkAllocateMemory, which must agree.
#pragma once

#include <vulkan/vulkan.h>

namespace vesper::server {

// Memory that the CPU may not cache is read so slowly (26 MB/s from an NVIDIA H200's own memory)
// that looking for what the GPU wrote would stall everything. Where the device has cached coherent
// memory as well, uncached types are no longer host-visible; else they stay as they are, and only
// what the GPU may write is read.
void HideUncachedTypes(VkPhysicalDeviceMemoryProperties* properties);
// For a client that maps shared memory alone: only coherent memory is shared.
void HideIncoherentTypes(VkPhysicalDeviceMemoryProperties* properties);

}  // namespace vesper::server
