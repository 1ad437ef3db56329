// What a window shows: a triangle that turns, and lines of text above it. A swapchain that fits the window, made again when it is
// resized.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/bench/gpu.h"

namespace vesper::tools::window {

// As few as programs with a window have.
inline constexpr uint32_t kFramesInFlight = 2;

class Scene {
 public:
  // `size` is for windows that are as large as what is shown in them; the first of `modes` that there is. Owns the surface. With
  // `waits` the device has VK_KHR_present_wait. Throws std::runtime_error, as everything here does.
  Scene(const bench::Gpu& gpu, VkSurfaceKHR surface, VkExtent2D size, const std::vector<VkPresentModeKHR>& modes,
        bool waits);
  ~Scene();  // waits for what is drawn, and for what is shown
  Scene(const Scene&) = delete;
  Scene& operator=(const Scene&) = delete;

  // From the next frame on.
  void Say(const std::vector<std::string>& lines);
  // Draws and presents the triangle at that angle.
  void Draw(float angle);
  // The seconds until the frame that Draw() drew last is in the window; nullopt where nobody can tell.
  std::optional<double> AwaitShown() const;
  void Resize(VkExtent2D size) {
    resized_ = resized_ || size.width != asked_.width || size.height != asked_.height;
    asked_ = size;
  }

  VkPresentModeKHR mode() const { return mode_; }
  VkExtent2D extent() const { return extent_; }

 private:
  struct Slot {
    bench::Commands commands;
    bench::Owned<VkFence> fence;
    bench::Owned<VkSemaphore> acquired;
  };
  void Build();
  void Record(VkCommandBuffer commands, uint32_t image, float angle) const;
  void DrawTriangle(VkCommandBuffer commands, uint32_t image, float angle) const;
  bool Present(const Slot& slot, uint32_t image);

  const bench::Gpu& gpu_;
  const VkSurfaceKHR surface_;
  VkExtent2D asked_;
  bool resized_ = false;
  VkPresentModeKHR mode_ = VK_PRESENT_MODE_FIFO_KHR;
  VkSurfaceFormatKHR format_ = {};
  PFN_vkWaitForPresentKHR wait_ = nullptr;
  VkExtent2D extent_ = {};
  VkSwapchainKHR swapchain_ = VK_NULL_HANDLE;
  std::vector<VkImage> images_;
  std::vector<bench::Owned<VkImageView>> views_;
  std::vector<bench::Owned<VkSemaphore>> drawn_;  // of each image
  bench::Owned<VkPipelineLayout> layout_;
  bench::Owned<VkPipeline> pipeline_;
  std::vector<Slot> slots_;
  bench::Buffer text_;
  std::vector<std::string> lines_;
  uint64_t frames_ = 0;  // drawn, which is also the id of the last one's presenting
};

}  // namespace vesper::tools::window
