#include "tools/window/scene.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include "shaders/turning_frag.h"
#include "shaders/turning_vert.h"
#include "tools/bench/canvas.h"
#include "tools/window/letters.h"

namespace vesper::tools::window {

using namespace bench;  // NOLINT: Vulkan, as the loader has it

namespace {

using Clock = std::chrono::steady_clock;
constexpr uint32_t kTextLines = 4, kTextScale = 2, kTextHeight = (kTextLines + 1) * kLetterHeight * kTextScale;
constexpr uint32_t kWhite = 0xffffffff, kDark = 0xff202020;  // the same whichever colour comes first
constexpr float kDarkValue = 0x20 / 255.0f;
constexpr uint64_t kPatienceNanoseconds = 5'000'000'000;

struct Turned {
  float scale[2], angle;
};

Owned<VkSemaphore> MakeSemaphore(const Gpu& gpu) {
  const VkSemaphoreCreateInfo info = {VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO};
  return Make<VkSemaphore>(gpu.device(), vkCreateSemaphore, vkDestroySemaphore, info);
}

void Change(VkCommandBuffer commands, VkImage image, VkImageLayout from, VkImageLayout to) {
  VkImageMemoryBarrier barrier = {VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER};
  barrier.srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT;
  barrier.dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT;
  barrier.oldLayout = from;
  barrier.newLayout = to;
  barrier.srcQueueFamilyIndex = barrier.dstQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED;
  barrier.image = image;
  barrier.subresourceRange = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
  constexpr VkPipelineStageFlags kStages = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
  vkCmdPipelineBarrier(commands, kStages, kStages, 0, 0, nullptr, 0, nullptr, 1, &barrier);
}

VkSurfaceFormatKHR ChooseFormat(const Gpu& gpu, VkSurfaceKHR surface) {
  uint32_t count = 0;
  vkGetPhysicalDeviceSurfaceFormatsKHR(gpu.physical(), surface, &count, nullptr);
  std::vector<VkSurfaceFormatKHR> formats(count);
  vkGetPhysicalDeviceSurfaceFormatsKHR(gpu.physical(), surface, &count, formats.data());
  for (const VkFormat wanted : {VK_FORMAT_B8G8R8A8_UNORM, VK_FORMAT_R8G8B8A8_UNORM}) {
    for (const VkSurfaceFormatKHR& each : formats) {
      if (each.format == wanted) return each;
    }
  }
  throw std::runtime_error("the window takes no pictures with 8 bits a colour");
}

VkPresentModeKHR ChooseMode(const Gpu& gpu, VkSurfaceKHR surface, const std::vector<VkPresentModeKHR>& wanted) {
  uint32_t count = 0;
  vkGetPhysicalDeviceSurfacePresentModesKHR(gpu.physical(), surface, &count, nullptr);
  std::vector<VkPresentModeKHR> modes(count);
  vkGetPhysicalDeviceSurfacePresentModesKHR(gpu.physical(), surface, &count, modes.data());
  for (const VkPresentModeKHR each : wanted) {
    if (std::find(modes.begin(), modes.end(), each) != modes.end()) return each;
  }
  return VK_PRESENT_MODE_FIFO_KHR;
}

}  // namespace

Scene::Scene(const Gpu& gpu, VkSurfaceKHR surface, VkExtent2D size, const std::vector<VkPresentModeKHR>& modes,
             bool waits)
    : gpu_(gpu), surface_(surface), asked_(size) {
  VkBool32 shows = VK_FALSE;
  Check(vkGetPhysicalDeviceSurfaceSupportKHR(gpu.physical(), gpu.family(), surface, &shows), "surface support");
  if (shows != VK_TRUE) throw std::runtime_error("the device cannot show pictures in that window");
  format_ = ChooseFormat(gpu, surface);
  mode_ = ChooseMode(gpu, surface, modes);
  if (waits)
    wait_ = reinterpret_cast<PFN_vkWaitForPresentKHR>(vkGetDeviceProcAddr(gpu.device(), "vkWaitForPresentKHR"));
  layout_ = MakePipelineLayout(gpu, nullptr, VK_SHADER_STAGE_VERTEX_BIT, sizeof(Turned));
  pipeline_ = MakeDrawing(gpu, layout_, MakeShader(gpu, turning_vert), MakeShader(gpu, turning_frag), format_.format);
  for (uint32_t i = 0; i < kFramesInFlight; ++i) {
    slots_.push_back({Commands(gpu), MakeFence(gpu, VK_FENCE_CREATE_SIGNALED_BIT), MakeSemaphore(gpu)});
  }
  Build();
}

Scene::~Scene() {
  vkDeviceWaitIdle(gpu_.device());
  views_.clear();
  vkDestroySwapchainKHR(gpu_.device(), swapchain_, nullptr);
  vkDestroySurfaceKHR(gpu_.instance(), surface_, nullptr);
}

void Scene::Build() {
  Check(vkDeviceWaitIdle(gpu_.device()), "vkDeviceWaitIdle");
  VkSurfaceCapabilitiesKHR can;
  Check(vkGetPhysicalDeviceSurfaceCapabilitiesKHR(gpu_.physical(), surface_, &can), "the window's capabilities");
  extent_ = can.currentExtent.width == UINT32_MAX ? asked_ : can.currentExtent;
  VkSwapchainCreateInfoKHR info = {VK_STRUCTURE_TYPE_SWAPCHAIN_CREATE_INFO_KHR};
  info.surface = surface_;
  info.minImageCount = std::max(can.minImageCount, uint32_t{3});
  if (can.maxImageCount != 0) info.minImageCount = std::min(info.minImageCount, can.maxImageCount);
  info.imageFormat = format_.format;
  info.imageColorSpace = format_.colorSpace;
  info.imageExtent = extent_;
  info.imageArrayLayers = 1;
  info.imageUsage = VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT;
  info.preTransform = can.currentTransform;
  info.compositeAlpha = VK_COMPOSITE_ALPHA_OPAQUE_BIT_KHR;
  info.presentMode = mode_;
  info.clipped = VK_TRUE;
  info.oldSwapchain = swapchain_;
  VkSwapchainKHR made = VK_NULL_HANDLE;
  Check(vkCreateSwapchainKHR(gpu_.device(), &info, nullptr, &made), "vkCreateSwapchainKHR");
  views_.clear();
  vkDestroySwapchainKHR(gpu_.device(), swapchain_, nullptr);
  swapchain_ = made;
  uint32_t count = 0;
  vkGetSwapchainImagesKHR(gpu_.device(), swapchain_, &count, nullptr);
  images_.resize(count);
  vkGetSwapchainImagesKHR(gpu_.device(), swapchain_, &count, images_.data());
  drawn_.clear();
  for (const VkImage image : images_) {
    VkImageViewCreateInfo view = {VK_STRUCTURE_TYPE_IMAGE_VIEW_CREATE_INFO};
    view.image = image;
    view.viewType = VK_IMAGE_VIEW_TYPE_2D;
    view.format = format_.format;
    view.subresourceRange = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
    views_.push_back(Make<VkImageView>(gpu_.device(), vkCreateImageView, vkDestroyImageView, view));
    drawn_.push_back(MakeSemaphore(gpu_));
  }
  frames_ = 0;
  if (!lines_.empty()) Say(lines_);
}

void Scene::Say(const std::vector<std::string>& lines) {
  Check(vkDeviceWaitIdle(gpu_.device()), "vkDeviceWaitIdle");  // a frame on its way may read the last text
  lines_ = lines;
  const size_t bytes = size_t{4} * extent_.width * std::min(kTextHeight, extent_.height);
  if (text_.size != bytes) text_ = MakeBuffer(gpu_, bytes, Place::kStaging);
  const std::span pixels(static_cast<uint32_t*>(text_.mapped), bytes / 4);
  std::fill(pixels.begin(), pixels.end(), kDark);
  for (uint32_t i = 0; i < std::min<size_t>(lines.size(), kTextLines); ++i) {
    const uint32_t y = kLetterHeight * kTextScale / 2 + i * kLetterHeight * kTextScale;
    Write(lines[i], kLetterWidth, y, kTextScale, kWhite, pixels, extent_.width);
  }
}

void Scene::Record(VkCommandBuffer commands, uint32_t image, float angle) const {
  const VkImage picture = images_[image];
  Change(commands, picture, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
  const VkClearColorValue dark = {{kDarkValue, kDarkValue, kDarkValue, 1}};
  const VkImageSubresourceRange all = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
  vkCmdClearColorImage(commands, picture, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, &dark, 1, &all);
  if (text_.size != 0) {
    FullBarrier(commands);
    VkBufferImageCopy copy = {};
    copy.imageSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1};
    copy.imageExtent = {extent_.width, std::min(kTextHeight, extent_.height), 1};
    vkCmdCopyBufferToImage(commands, text_.handle, picture, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, 1, &copy);
  }
  Change(commands, picture, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL);
  DrawTriangle(commands, image, angle);
  Change(commands, picture, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL, VK_IMAGE_LAYOUT_PRESENT_SRC_KHR);
}

void Scene::DrawTriangle(VkCommandBuffer commands, uint32_t image, float angle) const {
  VkRenderingAttachmentInfo colour = {VK_STRUCTURE_TYPE_RENDERING_ATTACHMENT_INFO};
  colour.imageView = views_[image];
  colour.imageLayout = VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL;
  colour.loadOp = VK_ATTACHMENT_LOAD_OP_LOAD;
  colour.storeOp = VK_ATTACHMENT_STORE_OP_STORE;
  VkRenderingInfo info = {VK_STRUCTURE_TYPE_RENDERING_INFO};
  info.renderArea.extent = extent_;
  info.layerCount = 1;
  info.colorAttachmentCount = 1;
  info.pColorAttachments = &colour;
  vkCmdBeginRendering(commands, &info);
  vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline_);
  const auto width = static_cast<float>(extent_.width), height = static_cast<float>(extent_.height);
  const VkViewport viewport = {0, 0, width, height, 0, 1};
  vkCmdSetViewport(commands, 0, 1, &viewport);
  vkCmdSetScissor(commands, 0, 1, &info.renderArea);
  const float side = 0.7f * std::min(width, height);
  const Turned turned = {{side / width, side / height}, angle};
  vkCmdPushConstants(commands, layout_, VK_SHADER_STAGE_VERTEX_BIT, 0, sizeof(turned), &turned);
  vkCmdDraw(commands, 3, 1, 0, 0);
  vkCmdEndRendering(commands);
}

void Scene::Draw(float angle) {
  const Slot& slot = slots_[frames_ % kFramesInFlight];
  Check(vkWaitForFences(gpu_.device(), 1, slot.fence.address(), VK_TRUE, kWaitNanoseconds), "vkWaitForFences");
  uint32_t image = 0;
  for (;;) {
    const VkResult result =
        vkAcquireNextImageKHR(gpu_.device(), swapchain_, kWaitNanoseconds, slot.acquired, VK_NULL_HANDLE, &image);
    if (result == VK_SUCCESS || result == VK_SUBOPTIMAL_KHR) break;
    if (result != VK_ERROR_OUT_OF_DATE_KHR) Check(result, "vkAcquireNextImageKHR");
    Build();
  }
  slot.commands.Begin(VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT);
  Record(slot.commands.get(), image, angle);
  slot.commands.End();
  if (!Present(slot, image)) Build();
}

// False when the window has another size now.
bool Scene::Present(const Slot& slot, uint32_t image) {
  Check(vkResetFences(gpu_.device(), 1, slot.fence.address()), "vkResetFences");
  const VkCommandBuffer commands = slot.commands.get();
  const VkPipelineStageFlags stage = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
  VkSubmitInfo submit = {VK_STRUCTURE_TYPE_SUBMIT_INFO};
  submit.waitSemaphoreCount = submit.commandBufferCount = submit.signalSemaphoreCount = 1;
  submit.pWaitSemaphores = slot.acquired.address();
  submit.pWaitDstStageMask = &stage;
  submit.pCommandBuffers = &commands;
  submit.pSignalSemaphores = drawn_[image].address();
  Check(vkQueueSubmit(gpu_.queue(), 1, &submit, slot.fence), "vkQueueSubmit");
  const uint64_t id = ++frames_;
  VkPresentIdKHR ids = {VK_STRUCTURE_TYPE_PRESENT_ID_KHR, nullptr, 1, &id};
  VkPresentInfoKHR info = {VK_STRUCTURE_TYPE_PRESENT_INFO_KHR};
  if (wait_ != nullptr) info.pNext = &ids;
  info.waitSemaphoreCount = info.swapchainCount = 1;
  info.pWaitSemaphores = drawn_[image].address();
  info.pSwapchains = &swapchain_;
  info.pImageIndices = &image;
  const VkResult result = vkQueuePresentKHR(gpu_.queue(), &info);
  if (result == VK_SUBOPTIMAL_KHR || result == VK_ERROR_OUT_OF_DATE_KHR) return false;
  Check(result, "vkQueuePresentKHR");
  return !std::exchange(resized_, false);
}

std::optional<double> Scene::AwaitShown() const {
  if (wait_ == nullptr || frames_ == 0) return std::nullopt;
  const Clock::time_point start = Clock::now();
  if (wait_(gpu_.device(), swapchain_, frames_, kPatienceNanoseconds) != VK_SUCCESS) return std::nullopt;
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace vesper::tools::window
