// How pictures of windows travel that a server far away has drawn: VESPER_FRAMES. See docs/windows.md.
#pragma once

#include <vulkan/vulkan.h>

#include "client/wsi/swapchain.h"

namespace vesper::client {

// Asks the server for pictures of that swapchain, whose buffers are there, as VESPER_FRAMES wants them. What cannot be had is said
// once on stderr, and pictures come exactly then.
void ChooseFrames(const SwapchainState& state, VkCompositeAlphaFlagBitsKHR alpha) noexcept;

}  // namespace vesper::client
