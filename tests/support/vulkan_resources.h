// Buffers, images and one-shot command buffers for tests. Everything is owned by the value; the
// Context must outlive it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "tests/support/vulkan_context.h"

namespace vesper::test {

// How long a test waits for the GPU before it fails.
inline constexpr uint64_t kWaitNanoseconds = 60'000'000'000;

enum class Placement {
  kHost /* visible, coherent, mapped */,
  kDevice /* device-local if there is any */
};

struct Buffer {
  Owned<VkDeviceMemory> memory;
  Owned<VkBuffer> handle;
  VkDeviceSize size = 0;
  void* mapped = nullptr;  // kHost only; valid as long as the buffer

  template <typename T>
  std::span<T> As() const {
    return {static_cast<T*>(mapped), static_cast<size_t>(size) / sizeof(T)};
  }
};

Buffer MakeBuffer(const Context& context, VkDeviceSize size, VkBufferUsageFlags usage, Placement placement);

struct Image {
  Owned<VkDeviceMemory> memory;
  Owned<VkImage> handle;
  Owned<VkImageView> view;
  VkFormat format = VK_FORMAT_UNDEFINED;
  VkExtent3D extent = {};
  VkImageAspectFlags aspect = VK_IMAGE_ASPECT_COLOR_BIT;
};

// Two-dimensional, optimal tiling, device memory, with a view of everything.
Image MakeImage(const Context& context, VkFormat format, uint32_t width, uint32_t height, VkImageUsageFlags usage,
                VkImageAspectFlags aspect = VK_IMAGE_ASPECT_COLOR_BIT,
                VkSampleCountFlagBits samples = VK_SAMPLE_COUNT_1_BIT);

// A command pool of the context's queue family, its buffers resettable one by one.
Owned<VkCommandPool> MakeCommandPool(const Context& context);
VkCommandBuffer AllocateCommands(const Context& context, VkCommandPool pool,
                                 VkCommandBufferLevel level = VK_COMMAND_BUFFER_LEVEL_PRIMARY);
void BeginCommands(VkCommandBuffer commands, VkCommandBufferUsageFlags flags = 0);

Owned<VkSemaphore> MakeTimeline(const Context& context);  // at 0
Owned<VkFence> MakeFence(const Context& context, VkFenceCreateFlags flags = 0);
// Submits `commands` on the context's queue (under its mutex).
void Submit(Context& context, VkCommandBuffer commands, VkFence fence);
void WaitFor(const Context& context, VkFence fence);

// Records, submits with a fence, waits.
void RunCommands(Context& context, const std::function<void(VkCommandBuffer)>& record);

// Everything written before is visible to everything after, host included.
void FullBarrier(VkCommandBuffer commands);
void ChangeLayout(VkCommandBuffer commands, const Image& image, VkImageLayout from, VkImageLayout to);

VkBufferImageCopy WholeImage(const Image& image);
// The texels of an image in TRANSFER_SRC_OPTIMAL, tightly packed; `texel_size` in bytes.
std::vector<uint8_t> ReadTexels(Context& context, const Image& image, size_t texel_size);
// Leaves the image in `layout`.
void WriteTexels(Context& context, const Image& image, std::span<const uint8_t> texels, VkImageLayout layout);

}  // namespace vesper::test
