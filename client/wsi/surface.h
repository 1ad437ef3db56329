// Surfaces: where swapchains show their images. They are the client's alone; the server never hears of them.
#pragma once

#include <vulkan/vulkan.h>

#include <vector>

#include "client/base/ids.h"
#include "client/objects/object.h"
#include "client/wsi/pixels.h"
#include "client/wsi/platform.h"

namespace vesper::client {

// What a surface stands for; each swapchain has a copy. The connection and the window belong to the application.
struct SurfaceTarget {
  xcb_connection_t* connection = nullptr;  // the application's; nullptr: headless, nothing is shown
  xcb_window_t window = 0;
  bool headless() const { return connection == nullptr; }
};

struct SurfaceState : ObjectState {
  SurfaceState(ObjectId id, const SurfaceTarget& of) : ObjectState(id), target(of) {}
  const SurfaceTarget target;
};

// Presenting reads an image into memory: a queue family that can copy can present.
bool FamilyPresents(VkPhysicalDevice device, uint32_t family) noexcept;
// Whether images can be converted to the window's kind of pixels. VK_ERROR_SURFACE_LOST_KHR when the window is gone.
VkResult SurfaceFits(const SurfaceTarget& target, bool* fits) noexcept;

// Asks the window system in every call, since windows change.
VkResult SurfaceCapabilities(VkPhysicalDevice device, const SurfaceTarget& target,
                             VkSurfaceCapabilitiesKHR* capabilities) noexcept;
// Formats that the device draws to and that can be converted. May throw std::bad_alloc.
VkResult SurfaceFormats(VkPhysicalDevice device, const SurfaceTarget& target, std::vector<VkSurfaceFormatKHR>* formats);
// How pixels of one of these formats become the window's; `opaque`: the window has a fourth channel, which is to be ignored.
PixelConversion ConversionOf(VkFormat format, bool opaque) noexcept;

}  // namespace vesper::client
