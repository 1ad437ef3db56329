// A swapchain and what a program that draws with it needs, for tests. Everything is owned by the value; the Context and the
// surface must outlive it.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "tests/support/vulkan_resources.h"

namespace vesper::test {

struct SwapchainOptions {
  uint32_t width = 200;
  uint32_t height = 100;
  VkFormat format = VK_FORMAT_B8G8R8A8_UNORM;
  VkPresentModeKHR mode = VK_PRESENT_MODE_IMMEDIATE_KHR;
  VkSwapchainKHR old = VK_NULL_HANDLE;
  uint32_t images = 3;
  VkCompositeAlphaFlagBitsKHR alpha = VK_COMPOSITE_ALPHA_OPAQUE_BIT_KHR;
  float opacity = 1.0f;        // of what is drawn
  const void* next = nullptr;  // more of its create-info
};

class Swapchain {
 public:
  Swapchain(Context& gpu, VkSurfaceKHR surface, const SwapchainOptions& options);
  ~Swapchain();
  Swapchain(const Swapchain&) = delete;
  Swapchain& operator=(const Swapchain&) = delete;

  VkSwapchainKHR handle() const { return handle_; }
  const std::vector<VkImage>& images() const { return images_; }

  // Acquires an image; VK_SUCCESS and VK_SUBOPTIMAL_KHR leave it in current().
  VkResult Acquire(uint64_t timeout = kWaitNanoseconds);
  uint32_t current() const { return current_; }
  // Draws into the acquired image: the whole of it in one colour, and a second colour in its left upper quarter; in R, G, B, 0 to 255.
  void Draw(std::array<uint8_t, 3> colour, std::array<uint8_t, 3> corner);
  // Copies a whole picture into the acquired image.
  void Paint(VkBuffer pixels);
  // Presents it; `next`: more of the present-info.
  VkResult Present(const void* next = nullptr);
  // All three. Errors are failures of the test, VK_SUBOPTIMAL_KHR is returned.
  VkResult Frame(std::array<uint8_t, 3> colour, std::array<uint8_t, 3> corner, const void* next = nullptr);
  // Acquires, clears, presents; nothing is allocated and nothing but the image is waited for.
  VkResult FrameOfNothing();

 private:
  struct Slot {  // of one image
    VkCommandBuffer commands = VK_NULL_HANDLE;
    Owned<VkFence> done;
    Owned<VkSemaphore> drawn;
  };
  void SubmitCommands(const Slot& slot);

  Context& gpu_;
  const SwapchainOptions options_;
  VkSwapchainKHR handle_ = VK_NULL_HANDLE;
  std::vector<VkImage> images_;
  Owned<VkCommandPool> pool_;
  std::vector<Slot> slots_;
  std::vector<Owned<VkSemaphore>> acquired_;  // one more than images: in turn
  size_t turn_ = 0;
  VkSemaphore waiting_ = VK_NULL_HANDLE;  // of the current image
  uint32_t current_ = 0;
};

}  // namespace vesper::test
