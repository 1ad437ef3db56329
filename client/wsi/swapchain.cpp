#include "client/wsi/swapchain.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "client/base/limits.h"
#include "client/session/session.h"
#include "client/windows/pixels.h"
#include "client/wsi/device_windows.h"
#include "client/wsi/frames.h"
#include "generated/client/entry_points.h"
#include "generated/client/overrides.h"
#include "runtime/vk/chain.h"

namespace vesper::client {
namespace {

VkDevice HandleOf(const SwapchainState& state) { return ToHandle<VkDevice>(state.device); }

VkDeviceSize AlignUp(VkDeviceSize value, VkDeviceSize alignment) {
  return alignment == 0 ? value : (value + alignment - 1) / alignment * alignment;
}

// The first type allowed that has all of `wanted`, else one that has all of `needed`, else nothing.
std::optional<uint32_t> ChooseType(const Device& device, uint32_t allowed, VkMemoryPropertyFlags needed,
                                   VkMemoryPropertyFlags wanted) {
  const VkPhysicalDeviceMemoryProperties& memory = device.memory_properties;
  for (const VkMemoryPropertyFlags flags : {needed | wanted, needed}) {
    for (uint32_t i = 0; i < memory.memoryTypeCount; ++i) {
      const VkMemoryPropertyFlags has = memory.memoryTypes[i].propertyFlags;
      if ((allowed >> i & 1) != 0 && (has & flags) == flags && (has & VK_MEMORY_PROPERTY_PROTECTED_BIT) == 0) return i;
    }
  }
  return std::nullopt;
}

VkResult Allocate(const SwapchainState& state, VkDeviceSize size, uint32_t allowed, VkMemoryPropertyFlags needed,
                  VkMemoryPropertyFlags wanted, VkDeviceMemory* memory) {
  const std::optional<uint32_t> type = ChooseType(*state.device, allowed, needed, wanted);
  if (!type) return VK_ERROR_OUT_OF_DEVICE_MEMORY;
  VkMemoryAllocateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
  info.allocationSize = size;
  info.memoryTypeIndex = *type;
  return overrides::AllocateMemory(HandleOf(state), &info, nullptr, memory);
}

// What the images are made with, from what the swapchain is made with.
void DescribeImages(SwapchainState* state, const VkSwapchainCreateInfoKHR& asked) {
  VkImageCreateInfo& info = state->info;
  info.sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO;
  info.flags = VK_IMAGE_CREATE_ALIAS_BIT;  // the application may make images of its own on the same memory
  if ((asked.flags & VK_SWAPCHAIN_CREATE_SPLIT_INSTANCE_BIND_REGIONS_BIT_KHR) != 0) {
    info.flags |= VK_IMAGE_CREATE_SPLIT_INSTANCE_BIND_REGIONS_BIT;
  }
  info.imageType = VK_IMAGE_TYPE_2D;
  info.format = asked.imageFormat;
  info.extent = {asked.imageExtent.width, asked.imageExtent.height, 1};
  info.mipLevels = 1;
  info.arrayLayers = asked.imageArrayLayers;
  info.samples = VK_SAMPLE_COUNT_1_BIT;
  info.tiling = VK_IMAGE_TILING_OPTIMAL;
  info.usage = asked.imageUsage | (!state->shown ? 0 : VK_IMAGE_USAGE_TRANSFER_SRC_BIT);
  info.sharingMode = asked.imageSharingMode;
  if (asked.imageSharingMode == VK_SHARING_MODE_CONCURRENT) {
    state->families.assign(asked.pQueueFamilyIndices, asked.pQueueFamilyIndices + asked.queueFamilyIndexCount);
    info.queueFamilyIndexCount = asked.queueFamilyIndexCount;
    info.pQueueFamilyIndices = state->families.data();
  }
  info.initialLayout = VK_IMAGE_LAYOUT_UNDEFINED;
  if ((asked.flags & VK_SWAPCHAIN_CREATE_MUTABLE_FORMAT_BIT_KHR) == 0) return;
  info.flags |= VK_IMAGE_CREATE_MUTABLE_FORMAT_BIT | VK_IMAGE_CREATE_EXTENDED_USAGE_BIT;
  const auto* list =
      FindInChain<VkImageFormatListCreateInfo>(asked.pNext, VK_STRUCTURE_TYPE_IMAGE_FORMAT_LIST_CREATE_INFO);
  if (list == nullptr) return;
  state->view_formats.assign(list->pViewFormats, list->pViewFormats + list->viewFormatCount);
  state->format_list.sType = list->sType;
  state->format_list.viewFormatCount = list->viewFormatCount;
  state->format_list.pViewFormats = state->view_formats.data();
  info.pNext = &state->format_list;
}

VkResult MakeImages(SwapchainState* state, uint32_t count) {
  VkMemoryRequirements needs{};
  for (uint32_t i = 0; i < count; ++i) {
    VkImage image = VK_NULL_HANDLE;
    const VkResult result = entry::CreateImage(HandleOf(*state), &state->info, nullptr, &image);
    if (result < 0) return result;
    state->images.push_back(image);
    if (i == 0) entry::GetImageMemoryRequirements(HandleOf(*state), image, &needs);
  }
  state->image_stride = AlignUp(needs.size, needs.alignment);
  VkResult result = Allocate(*state, state->image_stride * count, needs.memoryTypeBits, 0,
                             VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, &state->image_memory);
  for (uint32_t i = 0; i < count && result >= 0; ++i) {
    result =
        overrides::BindImageMemory(HandleOf(*state), state->images[i], state->image_memory, i * state->image_stride);
  }
  return result;
}

// Buffers for what is shown, mapped from now on. `pictures` gets where each image's pixels will lie.
VkResult MakeBuffers(SwapchainState* state, std::vector<Presenter::Picture>* pictures) {
  VkBufferCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO;
  info.size = VkDeviceSize{state->info.extent.width} * state->info.extent.height * kBytesPerPixel;
  info.usage = VK_BUFFER_USAGE_TRANSFER_DST_BIT;
  info.sharingMode = state->info.sharingMode;
  info.queueFamilyIndexCount = state->info.queueFamilyIndexCount;
  info.pQueueFamilyIndices = state->info.pQueueFamilyIndices;
  const auto count = static_cast<uint32_t>(state->images.size());
  VkMemoryRequirements needs{};
  for (uint32_t i = 0; i < count; ++i) {
    VkBuffer buffer = VK_NULL_HANDLE;
    const VkResult result = overrides::CreateBuffer(HandleOf(*state), &info, nullptr, &buffer);
    if (result < 0) return result;
    state->buffers.push_back(buffer);
    if (i == 0) entry::GetBufferMemoryRequirements(HandleOf(*state), buffer, &needs);
  }
  const VkDeviceSize stride = state->buffer_stride = AlignUp(needs.size, needs.alignment);
  VkResult result = Allocate(*state, stride * count, needs.memoryTypeBits,
                             VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT,
                             VK_MEMORY_PROPERTY_HOST_CACHED_BIT, &state->buffer_memory);
  if (result < 0) return result;
  auto* memory = state->device->session->states().Get<MemoryState>(state->buffer_memory);
  if (memory != nullptr) memory->read_only = true;
  for (uint32_t i = 0; i < count && result >= 0; ++i) {
    result = overrides::BindBufferMemory(HandleOf(*state), state->buffers[i], state->buffer_memory, i * stride);
  }
  void* mapped = nullptr;
  if (result >= 0) result = overrides::MapMemory(HandleOf(*state), state->buffer_memory, 0, VK_WHOLE_SIZE, 0, &mapped);
  for (uint32_t i = 0; i < count && result >= 0; ++i) {
    (*pictures)[i].pixels = static_cast<const uint8_t*>(mapped) + i * stride;
  }
  return result;
}

// The image stays in the layout that VK_IMAGE_LAYOUT_PRESENT_SRC_KHR travels as.
void RecordCopy(const SwapchainState& state, uint32_t image, uint32_t buffer, VkCommandBuffer commands) {
  VkMemoryBarrier before{};
  before.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
  before.srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT;
  before.dstAccessMask = VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
  entry::CmdPipelineBarrier(commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, VK_PIPELINE_STAGE_TRANSFER_BIT, 0, 1, &before,
                            0, nullptr, 0, nullptr);
  VkBufferImageCopy region{};
  region.imageSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1};
  region.imageExtent = state.info.extent;
  entry::CmdCopyImageToBuffer(commands, state.images[image], VK_IMAGE_LAYOUT_PRESENT_SRC_KHR, state.buffers[buffer], 1,
                              &region);
  VkMemoryBarrier after{};
  after.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
  after.srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT;
  after.dstAccessMask = VK_ACCESS_HOST_READ_BIT;
  entry::CmdPipelineBarrier(commands, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &after, 0,
                            nullptr, 0, nullptr);
}

VkResult MakeCopy(const SwapchainState& state, VkCommandPool pool, uint32_t image, uint32_t buffer,
                  VkCommandBuffer* commands) {
  VkCommandBufferAllocateInfo allocate{};
  allocate.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
  allocate.commandPool = pool;
  allocate.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
  allocate.commandBufferCount = 1;
  VkResult result = overrides::AllocateCommandBuffers(HandleOf(state), &allocate, commands);
  if (result < 0) return result;
  VkCommandBufferBeginInfo begin{};
  begin.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
  result = overrides::BeginCommandBuffer(*commands, &begin);
  if (result < 0) return result;
  RecordCopy(state, image, buffer, *commands);
  return overrides::EndCommandBuffer(*commands);
}

// Whether that is the mode, or one that presenting may switch to.
bool MayBeMailbox(const VkSwapchainCreateInfoKHR& info) {
  if (info.presentMode == VK_PRESENT_MODE_MAILBOX_KHR) return true;
  const auto* modes = FindInChain<VkSwapchainPresentModesCreateInfoEXT>(
      info.pNext, VK_STRUCTURE_TYPE_SWAPCHAIN_PRESENT_MODES_CREATE_INFO_EXT);
  if (modes == nullptr) return false;
  const auto* end = modes->pPresentModes + modes->presentModeCount;
  return std::find(modes->pPresentModes, end, VK_PRESENT_MODE_MAILBOX_KHR) != end;
}

void Enlist(SwapchainState* state) {
  DeviceWindows& windows = WindowsOf(state->device);
  const MutexLock lock(windows.swapchains_mutex);
  windows.swapchains.push_back(state);
}

void Delist(SwapchainState* state) noexcept {
  DeviceWindows& windows = WindowsOf(state->device);
  const MutexLock lock(windows.swapchains_mutex);
  std::erase(windows.swapchains, state);
}

}  // namespace

SwapchainState::~SwapchainState() = default;

VkResult BuildSwapchain(SwapchainState* state, SurfaceState* surface, const VkSwapchainCreateInfoKHR& info) {
  DescribeImages(state, info);
  const uint32_t least = MayBeMailbox(info) ? limits::kMinMailboxImages : limits::kMinImages;
  VkResult result = MakeImages(state, std::max(info.minImageCount, least));
  if (result < 0) return result;
  std::vector<Presenter::Picture> pictures(state->images.size());
  std::unique_ptr<Painter> painter;
  SurfaceTarget* target = surface->target.get();
  if (target != nullptr) {
    result = MakeBuffers(state, &pictures);
    if (result >= 0) {
      ChooseFrames(*state, info.compositeAlpha);
      result = target->MakePainter(
          {{info.imageExtent.width, info.imageExtent.height}, info.imageFormat, info.compositeAlpha}, &painter);
    }
    if (result < 0) return result;
  }
  state->presenter.emplace(state->device, surface, info.presentMode, std::move(pictures), std::move(painter));
  Enlist(state);
  return VK_SUCCESS;
}

void EndSwapchain(SwapchainState* state) noexcept {
  Delist(state);
  state->presenter.reset();
  const VkDevice device = HandleOf(*state);
  for (const auto& [family, copies] : state->copies) overrides::DestroyCommandPool(device, copies.pool, nullptr);
  for (const VkBuffer buffer : state->buffers) overrides::DestroyBuffer(device, buffer, nullptr);
  for (const VkImage image : state->images) entry::DestroyImage(device, image, nullptr);
  state->device->session->near_pictures().Forget(IdOf(state->buffer_memory));
  overrides::FreeMemory(device, state->buffer_memory, nullptr);
  overrides::FreeMemory(device, state->image_memory, nullptr);
}

VkResult CopyCommands(SwapchainState* state, uint32_t family, uint32_t image, uint32_t buffer,
                      VkCommandBuffer* commands) {
  *commands = VK_NULL_HANDLE;
  if (!state->shown) return VK_SUCCESS;
  SwapchainState::Copies& copies = state->copies[family];
  if (copies.pool == VK_NULL_HANDLE) {
    VkCommandPoolCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO;
    info.queueFamilyIndex = family;
    const VkResult result = overrides::CreateCommandPool(HandleOf(*state), &info, nullptr, &copies.pool);
    if (result < 0) return result;
  }
  const auto found = copies.commands.find({image, buffer});
  if (found != copies.commands.end()) {
    *commands = found->second;
    return VK_SUCCESS;
  }
  const VkResult result = MakeCopy(*state, copies.pool, image, buffer, commands);
  if (result >= 0) copies.commands[{image, buffer}] = *commands;
  return result;
}

void EndPresenters(Device* device) noexcept {
  if (device->session->abandoned()) return;
  std::vector<SwapchainState*> left;
  {
    DeviceWindows& windows = WindowsOf(device);
    const MutexLock lock(windows.swapchains_mutex);
    left.swap(windows.swapchains);
  }
  for (SwapchainState* state : left) state->presenter.reset();
}

}  // namespace vesper::client
