// The VkResult that a command left in its arguments.
#pragma once

#include <vulkan/vulkan.h>

#include <cstring>

#include "generated/server/commands.h"

namespace vesper::server {

// VK_SUCCESS for commands that return none.
inline VkResult ResultOf(const ServerCommand& command, const void* args) {
  VkResult result = VK_SUCCESS;
  if (command.result_offset >= 0) {
    std::memcpy(&result, static_cast<const char*>(args) + command.result_offset, sizeof(result));
  }
  return result;
}

}  // namespace vesper::server
