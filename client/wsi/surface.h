// Surfaces: where swapchains show their images. They are the client's alone; the server never hears of them.
#pragma once

#include <vulkan/vulkan.h>

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "client/base/ids.h"
#include "client/objects/object.h"
#include "client/windows/target.h"
#include "runtime/mutex.h"

namespace vesper::client {

class Presenter;

struct SurfaceState : ObjectState {
  SurfaceState(ObjectId id, std::unique_ptr<SurfaceTarget> of) : ObjectState(id), target(std::move(of)) {}
  const std::unique_ptr<SurfaceTarget> target;  // nullptr: headless, nothing is shown

  // Those of its swapchains. Programs destroy a surface, and the window after it, whose swapchain is still there.
  Mutex presenters_mutex;
  std::vector<Presenter*> presenters VESPER_GUARDED_BY(presenters_mutex);
};

// Presenting reads an image into memory: a queue family that can copy can present.
bool FamilyPresents(VkPhysicalDevice device, uint32_t family) noexcept;
// Asks the window system in every call, since windows change. Where a surface is wanted, nullptr stands for a headless one.
VkResult SurfaceCapabilities(VkPhysicalDevice device, SurfaceTarget* target,
                             VkSurfaceCapabilitiesKHR* capabilities) noexcept;
// Formats that the device draws to and that can be shown, none where the window cannot be presented to. May throw
// std::bad_alloc.
VkResult SurfaceFormats(VkPhysicalDevice device, SurfaceTarget* target, std::vector<VkSurfaceFormatKHR>* formats);
std::span<const VkPresentModeKHR> SurfaceModes(const SurfaceTarget* target) noexcept;

}  // namespace vesper::client
