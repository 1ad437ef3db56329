// Swapchains: their images are ordinary images of the server, made and bound here; presenting copies an image into memory that
// the client has mapped, from where the presenter puts it into the window. See docs/windows.md.
#pragma once

#include <vulkan/vulkan.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "client/base/ids.h"
#include "client/objects/object.h"
#include "client/wsi/presenter.h"
#include "client/wsi/surface.h"

namespace vesper::client {

// Owned by the session's States. No lock: Vulkan gives a swapchain to one thread of the application at a time.
struct SwapchainState : ObjectState {
  SwapchainState(ObjectId id, Device* of, bool of_window) : ObjectState(id), device(of), shown(of_window) {}
  ~SwapchainState() override;

  // What vkCreateImage is to be called with for one of its images; valid as long as this object.
  const VkImageCreateInfo& image_info() const { return info; }

  Device* const device;
  const bool shown;  // else the surface is headless
  VkImageCreateInfo info{};
  VkImageFormatListCreateInfo format_list{};
  std::vector<VkFormat> view_formats;
  std::vector<uint32_t> families;  // that share the images

  std::vector<VkImage> images;
  VkDeviceMemory image_memory = VK_NULL_HANDLE;
  VkDeviceSize image_stride = 0;  // in image_memory
  // Where something is shown: as many buffers as images, any of which is copied to any.
  std::vector<VkBuffer> buffers;
  VkDeviceMemory buffer_memory = VK_NULL_HANDLE;
  VkDeviceSize buffer_stride = 0;  // in buffer_memory

  // The commands that copy an image into a buffer, for each queue family that presented, made when first needed.
  struct Copies {
    VkCommandPool pool = VK_NULL_HANDLE;
    std::map<std::pair<uint32_t, uint32_t>, VkCommandBuffer> commands;  // by image and buffer
  };
  std::map<uint32_t, Copies> copies;

  std::optional<Presenter> presenter;
};

// Makes everything but the object's handle. The caller owns `state`, also on failure. May throw std::bad_alloc.
VkResult BuildSwapchain(SwapchainState* state, SurfaceState* surface, const VkSwapchainCreateInfoKHR& info);
// Ends the presenter and destroys what was made.
void EndSwapchain(SwapchainState* state) noexcept;
// The commands that copy an image into a buffer on a queue of that family, or VK_NULL_HANDLE where nothing is shown. May throw.
VkResult CopyCommands(SwapchainState* state, uint32_t family, uint32_t image, uint32_t buffer,
                      VkCommandBuffer* commands);

// Ends the swapchains that the application has not destroyed, when their device is being destroyed.
void EndPresenters(Device* device) noexcept;

}  // namespace vesper::client
