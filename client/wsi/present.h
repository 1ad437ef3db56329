// vkQueuePresentKHR: one submit copies all images, then each swapchain's presenter takes its own.
#pragma once

#include <vulkan/vulkan.h>

#include "client/objects/object.h"

namespace vesper::client {

// Returns what the command returns, and fills pResults. May throw std::bad_alloc.
VkResult Present(Queue* queue, const VkPresentInfoKHR& info);

}  // namespace vesper::client
