// The end of a command buffer's recording, and destructions that wait for it (client/objects/recordings.h).
#pragma once

#include <vulkan/vulkan.h>

#include "client/objects/object.h"
#include "generated/vk/commands.h"

namespace vesper::client {

// Recording has ended, in whichever way: sends the destructions that waited for it alone.
void EndRecording(CommandBuffer* buffer) noexcept;
// The device is being destroyed: what waits goes with it.
void DropDestructions(Device* device) noexcept;

// Whether the destruction of that object, whose arguments are `args`, goes after what is being recorded now; else the caller
// sends it.
bool DestroyLater(Device* device, Command command, const void* args, ObjectId object) noexcept;
template <typename H>
bool DestroyLater(VkDevice device, Command command, const void* args, H handle) noexcept {
  return handle != VK_NULL_HANDLE && DestroyLater(FromHandle<Device>(device), command, args, IdOf(handle));
}

}  // namespace vesper::client
