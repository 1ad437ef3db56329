#include "tests/support/vulkan_resources.h"

#include <cstring>

namespace vesper::test {
namespace {

// Device-local memory, best such as the host does not see.
uint32_t FindDeviceMemory(const Context& context, uint32_t types) {
  const VkPhysicalDeviceMemoryProperties& memory = context.memory_properties();
  for (uint32_t i = 0; i < memory.memoryTypeCount; ++i) {
    const VkMemoryPropertyFlags flags = memory.memoryTypes[i].propertyFlags;
    const bool hidden = (flags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) == 0;
    if ((types >> i & 1) != 0 && hidden && (flags & VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT) != 0) return i;
  }
  const uint32_t any = context.FindMemoryType(types, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT);
  return any != UINT32_MAX ? any : context.FindMemoryType(types, 0);
}

Owned<VkDeviceMemory> Allocate(const Context& context, const VkMemoryRequirements& requirements,
                               VkMemoryPropertyFlags wanted, bool with_address) {
  const uint32_t type = wanted == VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT
                            ? FindDeviceMemory(context, requirements.memoryTypeBits)
                            : context.FindMemoryType(requirements.memoryTypeBits, wanted);
  if (type == UINT32_MAX) throw std::runtime_error("no memory type fits");
  VkMemoryAllocateFlagsInfo flags = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO};
  flags.flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT;
  VkMemoryAllocateInfo info = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO};
  info.pNext = with_address ? &flags : nullptr;
  info.allocationSize = requirements.size;
  info.memoryTypeIndex = type;
  return Create<VkDeviceMemory>(context.device(), vkAllocateMemory, vkFreeMemory, info);
}

VkImageView MakeView(const Context& context, const Image& image) {
  VkImageViewCreateInfo info = {VK_STRUCTURE_TYPE_IMAGE_VIEW_CREATE_INFO};
  info.image = image.handle;
  info.viewType = VK_IMAGE_VIEW_TYPE_2D;
  info.format = image.format;
  info.subresourceRange = {image.aspect, 0, 1, 0, 1};
  VkImageView view = VK_NULL_HANDLE;
  VK_CHECK(vkCreateImageView(context.device(), &info, nullptr, &view));
  return view;
}

}  // namespace

Buffer MakeBuffer(const Context& context, VkDeviceSize size, VkBufferUsageFlags usage, Placement placement) {
  Buffer buffer;
  buffer.size = size;
  VkBufferCreateInfo info = {VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  info.size = size;
  info.usage = usage;
  info.sharingMode = VK_SHARING_MODE_EXCLUSIVE;
  buffer.handle = Create<VkBuffer>(context.device(), vkCreateBuffer, vkDestroyBuffer, info);
  VkMemoryRequirements requirements;
  vkGetBufferMemoryRequirements(context.device(), buffer.handle, &requirements);
  const VkMemoryPropertyFlags flags = placement == Placement::kHost
                                          ? VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT
                                          : VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
  buffer.memory = Allocate(context, requirements, flags, (usage & VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT) != 0);
  VK_CHECK(vkBindBufferMemory(context.device(), buffer.handle, buffer.memory, 0));
  if (placement == Placement::kHost) {
    VK_CHECK(vkMapMemory(context.device(), buffer.memory, 0, VK_WHOLE_SIZE, 0, &buffer.mapped));
  }
  return buffer;
}

Image MakeImage(const Context& context, VkFormat format, uint32_t width, uint32_t height, VkImageUsageFlags usage,
                VkImageAspectFlags aspect, VkSampleCountFlagBits samples) {
  Image image;
  image.format = format;
  image.extent = {width, height, 1};
  image.aspect = aspect;
  VkImageCreateInfo info = {VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO};
  info.imageType = VK_IMAGE_TYPE_2D;
  info.format = format;
  info.extent = image.extent;
  info.mipLevels = 1;
  info.arrayLayers = 1;
  info.samples = samples;
  info.tiling = VK_IMAGE_TILING_OPTIMAL;
  info.usage = usage;
  info.sharingMode = VK_SHARING_MODE_EXCLUSIVE;
  info.initialLayout = VK_IMAGE_LAYOUT_UNDEFINED;
  image.handle = Create<VkImage>(context.device(), vkCreateImage, vkDestroyImage, info);
  VkMemoryRequirements requirements;
  vkGetImageMemoryRequirements(context.device(), image.handle, &requirements);
  image.memory = Allocate(context, requirements, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, false);
  VK_CHECK(vkBindImageMemory(context.device(), image.handle, image.memory, 0));
  constexpr VkImageUsageFlags kViewed =
      VK_IMAGE_USAGE_SAMPLED_BIT | VK_IMAGE_USAGE_STORAGE_BIT | VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT |
      VK_IMAGE_USAGE_DEPTH_STENCIL_ATTACHMENT_BIT | VK_IMAGE_USAGE_INPUT_ATTACHMENT_BIT;
  if ((usage & kViewed) != 0) {
    image.view = Owned<VkImageView>(context.device(), MakeView(context, image), vkDestroyImageView);
  }
  return image;
}

Owned<VkCommandPool> MakeCommandPool(const Context& context) {
  VkCommandPoolCreateInfo info = {VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
  info.flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT;
  info.queueFamilyIndex = context.queue_family();
  return Create<VkCommandPool>(context.device(), vkCreateCommandPool, vkDestroyCommandPool, info);
}

VkCommandBuffer AllocateCommands(const Context& context, VkCommandPool pool, VkCommandBufferLevel level) {
  VkCommandBufferAllocateInfo info = {VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO};
  info.commandPool = pool;
  info.level = level;
  info.commandBufferCount = 1;
  VkCommandBuffer commands = VK_NULL_HANDLE;
  VK_CHECK(vkAllocateCommandBuffers(context.device(), &info, &commands));
  return commands;
}

void BeginCommands(VkCommandBuffer commands, VkCommandBufferUsageFlags flags) {
  VkCommandBufferBeginInfo info = {VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
  info.flags = flags;
  VK_CHECK(vkBeginCommandBuffer(commands, &info));
}

Owned<VkSemaphore> MakeTimeline(const Context& context) {
  VkSemaphoreTypeCreateInfo type = {VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO};
  type.semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE;
  VkSemaphoreCreateInfo info = {VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO};
  info.pNext = &type;
  return Create<VkSemaphore>(context.device(), vkCreateSemaphore, vkDestroySemaphore, info);
}

Owned<VkFence> MakeFence(const Context& context, VkFenceCreateFlags flags) {
  VkFenceCreateInfo info = {VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
  info.flags = flags;
  return Create<VkFence>(context.device(), vkCreateFence, vkDestroyFence, info);
}

void Submit(Context& context, VkCommandBuffer commands, VkFence fence) {
  VkSubmitInfo info = {VK_STRUCTURE_TYPE_SUBMIT_INFO};
  info.commandBufferCount = 1;
  info.pCommandBuffers = &commands;
  std::lock_guard<std::mutex> lock(context.queue_mutex());
  VK_CHECK(vkQueueSubmit(context.queue(), 1, &info, fence));
}

void WaitFor(const Context& context, VkFence fence) {
  VK_CHECK(vkWaitForFences(context.device(), 1, &fence, VK_TRUE, kWaitNanoseconds));
}

void RunCommands(Context& context, const std::function<void(VkCommandBuffer)>& record) {
  const Owned<VkCommandPool> pool = MakeCommandPool(context);
  const VkCommandBuffer commands = AllocateCommands(context, pool);
  BeginCommands(commands, VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT);
  record(commands);
  FullBarrier(commands);
  VK_CHECK(vkEndCommandBuffer(commands));
  const Owned<VkFence> fence = MakeFence(context);
  Submit(context, commands, fence);
  WaitFor(context, fence);
}

void FullBarrier(VkCommandBuffer commands) {
  VkMemoryBarrier barrier = {VK_STRUCTURE_TYPE_MEMORY_BARRIER};
  barrier.srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT;
  barrier.dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT | VK_ACCESS_HOST_READ_BIT;
  vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT,
                       VK_PIPELINE_STAGE_ALL_COMMANDS_BIT | VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &barrier, 0, nullptr, 0,
                       nullptr);
}

void ChangeLayout(VkCommandBuffer commands, const Image& image, VkImageLayout from, VkImageLayout to) {
  VkImageMemoryBarrier barrier = {VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER};
  barrier.srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT;
  barrier.dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT;
  barrier.oldLayout = from;
  barrier.newLayout = to;
  barrier.srcQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED;
  barrier.dstQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED;
  barrier.image = image.handle;
  barrier.subresourceRange = {image.aspect, 0, VK_REMAINING_MIP_LEVELS, 0, VK_REMAINING_ARRAY_LAYERS};
  vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, 0, 0, nullptr,
                       0, nullptr, 1, &barrier);
}

VkBufferImageCopy WholeImage(const Image& image) {
  VkBufferImageCopy copy = {};
  copy.imageSubresource = {image.aspect, 0, 0, 1};
  copy.imageExtent = image.extent;
  return copy;
}

std::vector<uint8_t> ReadTexels(Context& context, const Image& image, size_t texel_size) {
  const size_t size = size_t{image.extent.width} * image.extent.height * texel_size;
  const Buffer buffer = MakeBuffer(context, size, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
  RunCommands(context, [&](VkCommandBuffer commands) {
    const VkBufferImageCopy copy = WholeImage(image);
    vkCmdCopyImageToBuffer(commands, image.handle, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, buffer.handle, 1, &copy);
  });
  const std::span<uint8_t> bytes = buffer.As<uint8_t>();
  return {bytes.begin(), bytes.end()};
}

void WriteTexels(Context& context, const Image& image, std::span<const uint8_t> texels, VkImageLayout layout) {
  const Buffer buffer = MakeBuffer(context, texels.size(), VK_BUFFER_USAGE_TRANSFER_SRC_BIT, Placement::kHost);
  std::memcpy(buffer.mapped, texels.data(), texels.size());
  RunCommands(context, [&](VkCommandBuffer commands) {
    ChangeLayout(commands, image, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
    const VkBufferImageCopy copy = WholeImage(image);
    vkCmdCopyBufferToImage(commands, buffer.handle, image.handle, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, 1, &copy);
    ChangeLayout(commands, image, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, layout);
  });
}

}  // namespace vesper::test
