// What a surface stands for, whatever the window system: a window that is asked what it takes, and a painter that puts pictures
// into it. The window and its connection are the application's; a surface owns its target, each swapchain a Painter.
#pragma once

#include <vulkan/vulkan.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace vesper::client {

// Puts pictures of one size into one window. One thread of its swapchain's at a time, but for what says otherwise.
class Painter {
 public:
  enum class Outcome { kShown, kResized, kGone };

  Painter() = default;
  virtual ~Painter() = default;
  Painter(const Painter&) = delete;
  Painter& operator=(const Painter&) = delete;

  // Shows `pixels`, rows of 4 * width bytes without gaps, which may be reused when it returns. kResized: shown in a window whose
  // size is another now. kGone: the window or its connection is.
  virtual Outcome Show(const uint8_t* pixels) noexcept = 0;

  // Whether the window system says when it wants the next picture; then Due() and gone() tell, on any thread, and whoever was
  // given to Watch() is told when they change, on a thread of the painter's, until Rest().
  virtual bool paces() const { return false; }
  virtual bool Due() const noexcept { return true; }
  virtual bool gone() const noexcept { return false; }
  class Watcher {
   public:
    virtual void PainterChanged() noexcept = 0;

   protected:
    ~Watcher() = default;
  };
  // Throws when there is no thread left.
  virtual void Watch(Watcher*) {}
  // Nobody is told any more, and Show() waits for nothing that the window system may never do.
  virtual void Rest() noexcept {}
  // Whether the application may destroy the window without anybody noticing, so that what is said of it is a fatal error.
  virtual bool unsure() const noexcept { return false; }
  // Whether this one is known to do so while pictures wait: presenting then returns when they are shown.
  virtual bool awaited() const noexcept { return false; }
};

class SurfaceTarget {
 public:
  SurfaceTarget() = default;
  virtual ~SurfaceTarget() = default;
  SurfaceTarget(const SurfaceTarget&) = delete;
  SurfaceTarget& operator=(const SurfaceTarget&) = delete;

  // As the window system says now; {UINT32_MAX, UINT32_MAX} where a window is as large as what is shown in it.
  // VK_ERROR_SURFACE_LOST_KHR when the window is gone.
  virtual VkResult Extent(VkExtent2D* extent) noexcept = 0;
  // The formats whose pixels the window can be made to show, best first; none where it cannot be presented to. May throw
  // std::bad_alloc. VK_ERROR_SURFACE_LOST_KHR as above.
  virtual VkResult Formats(std::vector<VkFormat>* formats) = 0;
  virtual std::span<const VkPresentModeKHR> modes() const noexcept = 0;
  virtual VkCompositeAlphaFlagsKHR alphas() const noexcept = 0;

  struct Painting {
    VkExtent2D extent{};
    VkFormat format = VK_FORMAT_UNDEFINED;
    VkCompositeAlphaFlagBitsKHR alpha = VK_COMPOSITE_ALPHA_OPAQUE_BIT_KHR;
  };
  virtual VkResult MakePainter(const Painting& painting, std::unique_ptr<Painter>* painter) noexcept = 0;

  // The surface is destroyed: what was made with the application's connection goes, which is not touched otherwise, since the
  // application may have closed it.
  virtual void Close() noexcept {}
};

// What is offered for a window in every window system but for formats of more bits, in this order: blue comes first in windows.
inline constexpr VkFormat kPlainFormats[] = {VK_FORMAT_B8G8R8A8_SRGB, VK_FORMAT_B8G8R8A8_UNORM, VK_FORMAT_R8G8B8A8_SRGB,
                                             VK_FORMAT_R8G8B8A8_UNORM};
inline bool HasRedFirst(VkFormat format) {
  return format == VK_FORMAT_R8G8B8A8_SRGB || format == VK_FORMAT_R8G8B8A8_UNORM;
}

}  // namespace vesper::client
