// The VkResult that a command left in its arguments.
#pragma once

#include <vulkan/vulkan.h>

#include "generated/server/commands.h"

namespace vesper::server {

// VK_SUCCESS for commands that return none.
inline VkResult ResultOf(const ServerCommand& command, const void* args) {
  return command.result == nullptr ? VK_SUCCESS : command.result(args);
}

}  // namespace vesper::server
