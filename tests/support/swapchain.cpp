#include "tests/support/swapchain.h"

namespace vesper::test {
namespace {

Owned<VkSemaphore> MakeSemaphore(const Context& gpu) {
  const VkSemaphoreCreateInfo info = {VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, nullptr, 0};
  return Create<VkSemaphore>(gpu.device(), vkCreateSemaphore, vkDestroySemaphore, info);
}

// Colours are cleared with as texels say, so that drawing needs no more than transfers.
void ClearTo(VkCommandBuffer commands, VkImage image, std::array<uint8_t, 3> colour, float opacity) {
  VkClearColorValue value = {};
  for (size_t i = 0; i < 3; ++i) value.float32[i] = static_cast<float>(colour[i]) / 255.0f;
  value.float32[3] = opacity;
  const VkImageSubresourceRange all = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
  vkCmdClearColorImage(commands, image, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, &value, 1, &all);
}

void Change(VkCommandBuffer commands, VkImage image, VkImageLayout from, VkImageLayout to) {
  VkImageMemoryBarrier barrier = {};
  barrier.sType = VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER;
  barrier.srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT;
  barrier.dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT;
  barrier.oldLayout = from;
  barrier.newLayout = to;
  barrier.srcQueueFamilyIndex = barrier.dstQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED;
  barrier.image = image;
  barrier.subresourceRange = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
  vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, 0, 0, nullptr,
                       0, nullptr, 1, &barrier);
}

}  // namespace

Swapchain::Swapchain(Context& gpu, VkSurfaceKHR surface, const SwapchainOptions& options)
    : gpu_(gpu), options_(options), pool_(MakeCommandPool(gpu)) {
  VkSwapchainCreateInfoKHR info = {};
  info.sType = VK_STRUCTURE_TYPE_SWAPCHAIN_CREATE_INFO_KHR;
  info.surface = surface;
  info.minImageCount = options.images;
  info.imageFormat = options.format;
  info.imageColorSpace = VK_COLOR_SPACE_SRGB_NONLINEAR_KHR;
  info.imageExtent = {options.width, options.height};
  info.imageArrayLayers = 1;
  info.imageUsage =
      VK_IMAGE_USAGE_TRANSFER_DST_BIT | VK_IMAGE_USAGE_TRANSFER_SRC_BIT | VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT;
  info.preTransform = VK_SURFACE_TRANSFORM_IDENTITY_BIT_KHR;
  info.compositeAlpha = options.alpha;
  info.presentMode = options.mode;
  info.clipped = VK_TRUE;
  info.oldSwapchain = options.old;
  info.pNext = options.next;
  VK_CHECK(vkCreateSwapchainKHR(gpu.device(), &info, nullptr, &handle_));
  uint32_t count = 0;
  VK_CHECK(vkGetSwapchainImagesKHR(gpu.device(), handle_, &count, nullptr));
  images_.resize(count);
  VK_CHECK(vkGetSwapchainImagesKHR(gpu.device(), handle_, &count, images_.data()));
  for (uint32_t i = 0; i < count; ++i) {
    slots_.push_back({AllocateCommands(gpu, pool_), MakeFence(gpu, VK_FENCE_CREATE_SIGNALED_BIT), MakeSemaphore(gpu)});
  }
  for (uint32_t i = 0; i <= count; ++i) acquired_.push_back(MakeSemaphore(gpu));
}

Swapchain::~Swapchain() {
  vkDeviceWaitIdle(gpu_.device());
  vkDestroySwapchainKHR(gpu_.device(), handle_, nullptr);
}

VkResult Swapchain::Acquire(uint64_t timeout) {
  waiting_ = acquired_[turn_];
  const VkResult result = vkAcquireNextImageKHR(gpu_.device(), handle_, timeout, waiting_, VK_NULL_HANDLE, &current_);
  if (result == VK_SUCCESS || result == VK_SUBOPTIMAL_KHR) turn_ = (turn_ + 1) % acquired_.size();
  return result;
}

void Swapchain::Draw(std::array<uint8_t, 3> colour, std::array<uint8_t, 3> corner) {
  const VkImage image = images_[current_];
  const Slot& slot = slots_[current_];
  WaitFor(gpu_, slot.done);
  VK_CHECK(vkResetFences(gpu_.device(), 1, slot.done.address()));
  const Image source =
      MakeImage(gpu_, options_.format, options_.width / 2, options_.height / 2,
                VK_IMAGE_USAGE_TRANSFER_DST_BIT | VK_IMAGE_USAGE_TRANSFER_SRC_BIT | VK_IMAGE_USAGE_SAMPLED_BIT);
  BeginCommands(slot.commands);
  Change(slot.commands, image, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
  ClearTo(slot.commands, image, colour, options_.opacity);
  Change(slot.commands, source.handle, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
  ClearTo(slot.commands, source.handle, corner, options_.opacity);
  Change(slot.commands, source.handle, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
  Change(slot.commands, image, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
  VkImageCopy copy = {};
  copy.srcSubresource = copy.dstSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1};
  copy.extent = {options_.width / 2, options_.height / 2, 1};
  vkCmdCopyImage(slot.commands, source.handle, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, image,
                 VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, 1, &copy);
  Change(slot.commands, image, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, VK_IMAGE_LAYOUT_PRESENT_SRC_KHR);
  VK_CHECK(vkEndCommandBuffer(slot.commands));
  SubmitCommands(slot);
  WaitFor(gpu_, slot.done);  // `source` ends here
}

void Swapchain::Paint(VkBuffer pixels) {
  const VkImage image = images_[current_];
  const Slot& slot = slots_[current_];
  WaitFor(gpu_, slot.done);
  VK_CHECK(vkResetFences(gpu_.device(), 1, slot.done.address()));
  BeginCommands(slot.commands);
  Change(slot.commands, image, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
  VkBufferImageCopy copy = {};
  copy.imageSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1};
  copy.imageExtent = {options_.width, options_.height, 1};
  vkCmdCopyBufferToImage(slot.commands, pixels, image, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, 1, &copy);
  Change(slot.commands, image, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, VK_IMAGE_LAYOUT_PRESENT_SRC_KHR);
  VK_CHECK(vkEndCommandBuffer(slot.commands));
  SubmitCommands(slot);
}

VkResult Swapchain::FrameOfNothing() {
  VK_CHECK(Acquire());
  const Slot& slot = slots_[current_];
  WaitFor(gpu_, slot.done);
  VK_CHECK(vkResetFences(gpu_.device(), 1, slot.done.address()));
  BeginCommands(slot.commands);
  Change(slot.commands, images_[current_], VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
  ClearTo(slot.commands, images_[current_], {1, 2, 3}, options_.opacity);
  Change(slot.commands, images_[current_], VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, VK_IMAGE_LAYOUT_PRESENT_SRC_KHR);
  VK_CHECK(vkEndCommandBuffer(slot.commands));
  SubmitCommands(slot);
  return Present();
}

void Swapchain::SubmitCommands(const Slot& slot) {
  const VkPipelineStageFlags stage = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
  VkSubmitInfo submit = {};
  submit.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
  submit.waitSemaphoreCount = 1;
  submit.pWaitSemaphores = &waiting_;
  submit.pWaitDstStageMask = &stage;
  submit.commandBufferCount = 1;
  submit.pCommandBuffers = &slot.commands;
  submit.signalSemaphoreCount = 1;
  submit.pSignalSemaphores = slot.drawn.address();
  VK_CHECK(vkQueueSubmit(gpu_.queue(), 1, &submit, slot.done));
}

VkResult Swapchain::Present(const void* next) {
  VkPresentInfoKHR info = {};
  info.sType = VK_STRUCTURE_TYPE_PRESENT_INFO_KHR;
  info.pNext = next;
  info.waitSemaphoreCount = 1;
  info.pWaitSemaphores = slots_[current_].drawn.address();
  info.swapchainCount = 1;
  info.pSwapchains = &handle_;
  info.pImageIndices = &current_;
  return vkQueuePresentKHR(gpu_.queue(), &info);
}

VkResult Swapchain::Frame(std::array<uint8_t, 3> colour, std::array<uint8_t, 3> corner, const void* next) {
  const VkResult acquired = Acquire();
  if (acquired != VK_SUBOPTIMAL_KHR) VK_CHECK(acquired);
  Draw(colour, corner);
  const VkResult presented = Present(next);
  if (presented != VK_SUBOPTIMAL_KHR) VK_CHECK(presented);
  return presented;
}

}  // namespace vesper::test
