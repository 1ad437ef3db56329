// What commands say about what the device may write, where an operand alone does not (codegen/policy/writes.toml, "noted").
#include <algorithm>
#include <span>

#include "generated/server/writes.h"
#include "server/base/chain.h"
#include "server/base/limits.h"

namespace vesper::server {

uint32_t SetLayout::NumberOf(uint32_t index) const {
  const auto after = std::upper_bound(bindings.begin(), bindings.end(), index,
                                      [](uint32_t i, const Binding& binding) { return i < binding.first; });
  return after == bindings.begin() ? UINT32_MAX : std::prev(after)->number;
}

namespace notes {
namespace {

// What an array holds. Vulkan lets some be left out without a word of when; of others a client may say so nevertheless.
template <typename T>
std::span<const T> Items(const T* items, uint32_t count) {
  return {items, items == nullptr ? 0 : count};
}

// --- where things lie ----------------------------------------------------------------------------------------------------

template <typename Placements, typename Handle>
void Place(Placements* placements, Handle handle, VkDeviceMemory memory, uint64_t offset, bool followed) {
  const auto found = placements->find(handle);
  if (found == placements->end()) return;  // and so unknown
  Placement& placement = found->second;
  // A second binding is of another plane.
  placement.followed = placement.followed && followed && placement.memory == VK_NULL_HANDLE;
  placement.memory = memory;
  placement.offset = offset;
}

// --- descriptors ---------------------------------------------------------------------------------------------------------

// What shaders can only read.
bool OnlyRead(VkDescriptorType type) {
  switch (type) {
    case VK_DESCRIPTOR_TYPE_SAMPLER:
    case VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER:
    case VK_DESCRIPTOR_TYPE_SAMPLED_IMAGE:
    case VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER:
    case VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER:
    case VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER_DYNAMIC:
    case VK_DESCRIPTOR_TYPE_INPUT_ATTACHMENT:
    case VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK:
    case VK_DESCRIPTOR_TYPE_ACCELERATION_STRUCTURE_KHR:
    case VK_DESCRIPTOR_TYPE_ACCELERATION_STRUCTURE_NV:
      return true;
    default:
      return false;
  }
}

// Whether a write has the array that its type asks for: programs that break the rules leave it out.
bool HasDescriptors(const VkWriteDescriptorSet& write) {
  switch (write.descriptorType) {
    case VK_DESCRIPTOR_TYPE_STORAGE_BUFFER:
    case VK_DESCRIPTOR_TYPE_STORAGE_BUFFER_DYNAMIC:
      return write.pBufferInfo != nullptr;
    case VK_DESCRIPTOR_TYPE_STORAGE_IMAGE:
      return write.pImageInfo != nullptr;
    case VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER:
      return write.pTexelBufferView != nullptr;
    default:
      return true;
  }
}

// What descriptor `i` of a write lets shaders write: the whole buffer, since accesses out of bounds may end anywhere in it.
// False for null descriptors, through which nothing is written. Of a write that HasDescriptors().
bool PartOf(const DeviceWrites& device, const VkWriteDescriptorSet& write, uint32_t i, WrittenPart* part) {
  *part = {};
  switch (write.descriptorType) {
    case VK_DESCRIPTOR_TYPE_STORAGE_BUFFER:
    case VK_DESCRIPTOR_TYPE_STORAGE_BUFFER_DYNAMIC:
      part->buffer = write.pBufferInfo[i].buffer;
      return part->buffer != VK_NULL_HANDLE;
    case VK_DESCRIPTOR_TYPE_STORAGE_IMAGE: {
      if (write.pImageInfo[i].imageView == VK_NULL_HANDLE) return false;
      const auto view = device.image_views.find(write.pImageInfo[i].imageView);
      if (view != device.image_views.end()) part->image = view->second;
      return true;
    }
    case VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER: {
      if (write.pTexelBufferView[i] == VK_NULL_HANDLE) return false;
      const auto view = device.buffer_views.find(write.pTexelBufferView[i]);
      if (view != device.buffer_views.end()) part->buffer = view->second;
      return true;
    }
    default:
      return true;
  }
}

bool IndexOf(const DescriptorSet& set, uint32_t binding, uint32_t element, uint32_t* index) {
  if (set.layout == nullptr) return false;
  const auto found = std::find_if(set.layout->bindings.begin(), set.layout->bindings.end(),
                                  [binding](const auto& each) { return each.number == binding; });
  if (found == set.layout->bindings.end()) return false;
  *index = found->first + element;
  return true;
}

void Write(DeviceWrites* device, const VkWriteDescriptorSet& write) {
  const auto found = device->sets.find(write.dstSet);
  if (found == device->sets.end() || write.descriptorType == VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK) return;
  DescriptorSet& set = found->second;
  uint32_t first = 0;
  if (!IndexOf(set, write.dstBinding, write.dstArrayElement, &first) || !HasDescriptors(write)) {
    set.unknown = true;
    return;
  }
  for (uint32_t i = 0; i < write.descriptorCount; ++i) {
    WrittenPart part;
    if (!OnlyRead(write.descriptorType) && PartOf(*device, write, i, &part)) {
      set.writable.insert_or_assign(first + i, part);
    } else if (!set.writable.empty()) {
      set.writable.erase(first + i);
    }
  }
}

void Copy(DeviceWrites* device, const VkCopyDescriptorSet& copy) {
  const auto to = device->sets.find(copy.dstSet);
  if (to == device->sets.end()) return;
  const auto from = device->sets.find(copy.srcSet);
  uint32_t source = 0;
  uint32_t target = 0;
  if (from == device->sets.end() || from->second.unknown ||
      !IndexOf(from->second, copy.srcBinding, copy.srcArrayElement, &source) ||
      !IndexOf(to->second, copy.dstBinding, copy.dstArrayElement, &target)) {
    to->second.unknown = true;
    return;
  }
  for (uint32_t i = 0; i < copy.descriptorCount; ++i) {
    const auto part = from->second.writable.find(source + i);
    if (part != from->second.writable.end()) {
      const WrittenPart copied = part->second;
      to->second.writable.insert_or_assign(target + i, copied);
    } else {
      to->second.writable.erase(target + i);
    }
  }
}

void EndSets(DeviceWrites* device, VkDescriptorPool pool) {
  const auto found = device->pools.find(pool);
  if (found == device->pools.end()) return;
  for (const VkDescriptorSet set : found->second) device->sets.erase(set);
  device->pools.erase(found);
}

// --- shaders -------------------------------------------------------------------------------------------------------------

ShaderWrites WritesOf(const DeviceWrites& device, const VkPipelineShaderStageCreateInfo& stage) {
  const auto found = stage.module == VK_NULL_HANDLE ? device.modules.end() : device.modules.find(stage.module);
  if (found != device.modules.end()) return found->second;
  ShaderWrites unknown;
  unknown.unknown = true;
  return unknown;
}

// --- passes --------------------------------------------------------------------------------------------------------------

void WritesView(const DeviceWrites& device, VkImageView view, Recording* recording) {
  if (view == VK_NULL_HANDLE) return;
  const auto found = device.image_views.find(view);
  if (found == device.image_views.end()) return recording->WritesAll();
  recording->Writes(found->second);
}

void BeginPass(DeviceWrites* device, VkCommandBuffer buffer, const VkRenderPassBeginInfo& info) {
  Recording& recording = device->recordings[buffer];
  const auto* views =
      FindInChain<VkRenderPassAttachmentBeginInfo>(info.pNext, VK_STRUCTURE_TYPE_RENDER_PASS_ATTACHMENT_BEGIN_INFO);
  const auto found = device->framebuffers.find(info.framebuffer);
  if (views == nullptr && found == device->framebuffers.end()) return recording.WritesAll();
  if (found != device->framebuffers.end()) {
    for (const VkImageView view : found->second) WritesView(*device, view, &recording);
  }
  if (views == nullptr) return;
  for (const VkImageView view : Items(views->pAttachments, views->attachmentCount)) {
    WritesView(*device, view, &recording);
  }
}

// A transition may rewrite the image.
template <typename Barrier>
void WritesTransitions(Recording* recording, const Barrier* barriers, uint32_t count) {
  for (const Barrier& barrier : Items(barriers, count)) {
    if (barrier.oldLayout != barrier.newLayout || barrier.srcQueueFamilyIndex != barrier.dstQueueFamilyIndex) {
      recording->Writes(barrier.image);
    }
  }
}

}  // namespace

void CreateBuffer(DeviceWrites& device, const wire::CreateBufferArgs& v) {
  if (v.result != VK_SUCCESS) return;
  Placement placement;
  placement.size = v.pCreateInfo->size;
  device.buffers.insert_or_assign(*v.pBuffer, placement);
  device.addressed.erase(*v.pBuffer);
  if ((v.pCreateInfo->usage & VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT) != 0) device.addressed.insert(*v.pBuffer);
}
void DestroyBuffer(DeviceWrites& device, const wire::DestroyBufferArgs& v) {
  device.buffers.erase(v.buffer);
  device.addressed.erase(v.buffer);
}
void BindBufferMemory(DeviceWrites& device, const wire::BindBufferMemoryArgs& v) {
  Place(&device.buffers, v.buffer, v.memory, v.memoryOffset, v.result == VK_SUCCESS);
}
void BindBufferMemory2(DeviceWrites& device, const wire::BindBufferMemory2Args& v) {
  for (const VkBindBufferMemoryInfo& info : Items(v.pBindInfos, v.bindInfoCount)) {
    Place(&device.buffers, info.buffer, info.memory, info.memoryOffset, v.result == VK_SUCCESS);
  }
}
void CreateImage(DeviceWrites& device, const wire::CreateImageArgs& v) {
  if (v.result == VK_SUCCESS) device.images.insert_or_assign(*v.pImage, Placement{});
}
void DestroyImage(DeviceWrites& device, const wire::DestroyImageArgs& v) { device.images.erase(v.image); }
void BindImageMemory(DeviceWrites& device, const wire::BindImageMemoryArgs& v) {
  Place(&device.images, v.image, v.memory, v.memoryOffset, v.result == VK_SUCCESS);
}
void BindImageMemory2(DeviceWrites& device, const wire::BindImageMemory2Args& v) {
  for (const VkBindImageMemoryInfo& info : Items(v.pBindInfos, v.bindInfoCount)) {
    const bool plane =
        FindInChain<VkBindImagePlaneMemoryInfo>(info.pNext, VK_STRUCTURE_TYPE_BIND_IMAGE_PLANE_MEMORY_INFO) != nullptr;
    Place(&device.images, info.image, info.memory, info.memoryOffset, v.result == VK_SUCCESS && !plane);
  }
}

void CreateBufferView(DeviceWrites& device, const wire::CreateBufferViewArgs& v) {
  if (v.result == VK_SUCCESS) device.buffer_views.insert_or_assign(*v.pView, v.pCreateInfo->buffer);
}
void DestroyBufferView(DeviceWrites& device, const wire::DestroyBufferViewArgs& v) {
  device.buffer_views.erase(v.bufferView);
}
void CreateImageView(DeviceWrites& device, const wire::CreateImageViewArgs& v) {
  if (v.result == VK_SUCCESS) device.image_views.insert_or_assign(*v.pView, v.pCreateInfo->image);
}
void DestroyImageView(DeviceWrites& device, const wire::DestroyImageViewArgs& v) {
  device.image_views.erase(v.imageView);
}
void CreateFramebuffer(DeviceWrites& device, const wire::CreateFramebufferArgs& v) {
  if (v.result != VK_SUCCESS) return;
  std::vector<VkImageView>& views = device.framebuffers[*v.pFramebuffer];
  views.clear();
  if ((v.pCreateInfo->flags & VK_FRAMEBUFFER_CREATE_IMAGELESS_BIT) != 0) return;
  const auto attachments = Items(v.pCreateInfo->pAttachments, v.pCreateInfo->attachmentCount);
  views.assign(attachments.begin(), attachments.end());
}
void DestroyFramebuffer(DeviceWrites& device, const wire::DestroyFramebufferArgs& v) {
  device.framebuffers.erase(v.framebuffer);
}

void CreateDescriptorSetLayout(DeviceWrites& device, const wire::CreateDescriptorSetLayoutArgs& v) {
  if (v.result != VK_SUCCESS) return;
  std::map<uint32_t, uint32_t> counts;  // by binding number
  for (const auto& binding : Items(v.pCreateInfo->pBindings, v.pCreateInfo->bindingCount)) {
    const bool inline_block = binding.descriptorType == VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK;
    if (!inline_block && binding.descriptorCount != 0) counts[binding.binding] = binding.descriptorCount;
  }
  const auto layout = std::make_shared<SetLayout>();
  uint32_t first = 0;
  for (const auto& [number, count] : counts) {
    layout->bindings.push_back({first, number});
    first += count;
  }
  device.layouts.insert_or_assign(*v.pSetLayout, layout);
}
void DestroyDescriptorSetLayout(DeviceWrites& device, const wire::DestroyDescriptorSetLayoutArgs& v) {
  device.layouts.erase(v.descriptorSetLayout);
}
void AllocateDescriptorSets(DeviceWrites& device, const wire::AllocateDescriptorSetsArgs& v) {
  if (v.result != VK_SUCCESS) return;
  const VkDescriptorSetAllocateInfo& info = *v.pAllocateInfo;
  for (uint32_t i = 0; i < info.descriptorSetCount; ++i) {
    DescriptorSet& set = device.sets[v.pDescriptorSets[i]];
    set = {};
    set.pool = info.descriptorPool;
    const auto layout = device.layouts.find(info.pSetLayouts[i]);
    if (layout != device.layouts.end()) set.layout = layout->second;
    set.unknown = set.layout == nullptr;
    device.pools[info.descriptorPool].insert(v.pDescriptorSets[i]);
  }
}
void FreeDescriptorSets(DeviceWrites& device, const wire::FreeDescriptorSetsArgs& v) {
  for (const VkDescriptorSet set : Items(v.pDescriptorSets, v.descriptorSetCount)) {
    device.sets.erase(set);
    device.pools[v.descriptorPool].erase(set);
  }
}
void ResetDescriptorPool(DeviceWrites& device, const wire::ResetDescriptorPoolArgs& v) {
  EndSets(&device, v.descriptorPool);
}
void DestroyDescriptorPool(DeviceWrites& device, const wire::DestroyDescriptorPoolArgs& v) {
  EndSets(&device, v.descriptorPool);
}
void UpdateDescriptorSets(DeviceWrites& device, const wire::UpdateDescriptorSetsArgs& v) {
  for (const auto& write : Items(v.pDescriptorWrites, v.descriptorWriteCount)) Write(&device, write);
  for (const auto& copy : Items(v.pDescriptorCopies, v.descriptorCopyCount)) Copy(&device, copy);
}

void CreateShaderModule(DeviceWrites& device, const wire::CreateShaderModuleArgs& v) {
  if (v.result != VK_SUCCESS) return;
  const VkShaderModuleCreateInfo& info = *v.pCreateInfo;
  device.modules.insert_or_assign(*v.pShaderModule, ReadShaderWrites({info.pCode, info.codeSize / 4}));
}
void DestroyShaderModule(DeviceWrites& device, const wire::DestroyShaderModuleArgs& v) {
  device.modules.erase(v.shaderModule);
}
void CreateComputePipelines(DeviceWrites& device, const wire::CreateComputePipelinesArgs& v) {
  for (uint32_t i = 0; i < v.createInfoCount; ++i) {
    if (v.pPipelines[i] == VK_NULL_HANDLE) continue;
    device.pipelines.insert_or_assign(v.pPipelines[i], WritesOf(device, v.pCreateInfos[i].stage));
  }
}
void CreateGraphicsPipelines(DeviceWrites& device, const wire::CreateGraphicsPipelinesArgs& v) {
  for (uint32_t i = 0; i < v.createInfoCount; ++i) {
    if (v.pPipelines[i] == VK_NULL_HANDLE) continue;
    const VkGraphicsPipelineCreateInfo& info = v.pCreateInfos[i];
    ShaderWrites writes;
    // Parts of it may be elsewhere.
    writes.unknown = FindInChain<VkPipelineLibraryCreateInfoKHR>(
                         info.pNext, VK_STRUCTURE_TYPE_PIPELINE_LIBRARY_CREATE_INFO_KHR) != nullptr ||
                     info.stageCount == 0 || info.pStages == nullptr;
    for (const auto& stage : Items(info.pStages, info.stageCount)) writes.Merge(WritesOf(device, stage));
    device.pipelines.insert_or_assign(v.pPipelines[i], std::move(writes));
  }
}
void DestroyPipeline(DeviceWrites& device, const wire::DestroyPipelineArgs& v) { device.pipelines.erase(v.pipeline); }

void AllocateCommandBuffers(DeviceWrites& device, const wire::AllocateCommandBuffersArgs& v) {
  if (v.result != VK_SUCCESS) return;
  for (uint32_t i = 0; i < v.pAllocateInfo->commandBufferCount; ++i) {
    device.command_pools[v.pAllocateInfo->commandPool].insert(v.pCommandBuffers[i]);
  }
}
void FreeCommandBuffers(DeviceWrites& device, const wire::FreeCommandBuffersArgs& v) {
  for (const VkCommandBuffer buffer : Items(v.pCommandBuffers, v.commandBufferCount)) {
    device.recordings.erase(buffer);
    device.command_pools[v.commandPool].erase(buffer);
  }
}
void DestroyCommandPool(DeviceWrites& device, const wire::DestroyCommandPoolArgs& v) {
  const auto found = device.command_pools.find(v.commandPool);
  if (found == device.command_pools.end()) return;
  for (const VkCommandBuffer buffer : found->second) device.recordings.erase(buffer);
  device.command_pools.erase(found);
}
void BeginCommandBuffer(DeviceWrites& device, const wire::BeginCommandBufferArgs& v) {
  device.recordings.insert_or_assign(v.commandBuffer, Recording{});
}

void CmdBindPipeline(DeviceWrites& device, const wire::CmdBindPipelineArgs& v) {
  device.recordings[v.commandBuffer].bound[v.pipelineBindPoint].pipelines.insert(v.pipeline);
}
void CmdBindDescriptorSets(DeviceWrites& device, const wire::CmdBindDescriptorSetsArgs& v) {
  Recording& recording = device.recordings[v.commandBuffer];
  auto& bound = recording.bound[v.pipelineBindPoint];
  if (bound.sets.size() > limits::kMaxWrittenParts) return recording.WritesAll();
  uint32_t number = v.firstSet;
  for (const VkDescriptorSet set : Items(v.pDescriptorSets, v.descriptorSetCount)) {
    if (set != VK_NULL_HANDLE) bound.sets.emplace(number, set);
    ++number;
  }
}
void CmdPushDescriptorSetKHR(DeviceWrites& device, const wire::CmdPushDescriptorSetKHRArgs& v) {
  Recording& recording = device.recordings[v.commandBuffer];
  for (const VkWriteDescriptorSet& write : Items(v.pDescriptorWrites, v.descriptorWriteCount)) {
    if (OnlyRead(write.descriptorType)) continue;
    // Each may be a part; a count alone, of what is not there, takes no time.
    if (!HasDescriptors(write) || write.descriptorCount > limits::kMaxWrittenParts) return recording.WritesAll();
    for (uint32_t d = 0; d < write.descriptorCount; ++d) {
      WrittenPart part;
      if (PartOf(device, write, d, &part)) recording.Writes(part);
    }
  }
}
void CmdExecuteCommands(DeviceWrites& device, const wire::CmdExecuteCommandsArgs& v) {
  auto& secondaries = device.recordings[v.commandBuffer].secondaries;
  const auto executed = Items(v.pCommandBuffers, v.commandBufferCount);
  secondaries.insert(secondaries.end(), executed.begin(), executed.end());
}

void CmdCopyBuffer(DeviceWrites& device, const wire::CmdCopyBufferArgs& v) {
  Recording& recording = device.recordings[v.commandBuffer];
  for (const VkBufferCopy& region : Items(v.pRegions, v.regionCount)) {
    recording.Writes(v.dstBuffer, region.dstOffset, region.size);
  }
}
void CmdCopyBuffer2(DeviceWrites& device, const wire::CmdCopyBuffer2Args& v) {
  Recording& recording = device.recordings[v.commandBuffer];
  for (const VkBufferCopy2& region : Items(v.pCopyBufferInfo->pRegions, v.pCopyBufferInfo->regionCount)) {
    recording.Writes(v.pCopyBufferInfo->dstBuffer, region.dstOffset, region.size);
  }
}
void CmdFillBuffer(DeviceWrites& device, const wire::CmdFillBufferArgs& v) {
  device.recordings[v.commandBuffer].Writes(v.dstBuffer, v.dstOffset, v.size);
}
void CmdUpdateBuffer(DeviceWrites& device, const wire::CmdUpdateBufferArgs& v) {
  device.recordings[v.commandBuffer].Writes(v.dstBuffer, v.dstOffset, v.dataSize);
}
void CmdCopyQueryPoolResults(DeviceWrites& device, const wire::CmdCopyQueryPoolResultsArgs& v) {
  device.recordings[v.commandBuffer].Writes(v.dstBuffer, v.dstOffset);
}
void CmdPipelineBarrier(DeviceWrites& device, const wire::CmdPipelineBarrierArgs& v) {
  WritesTransitions(&device.recordings[v.commandBuffer], v.pImageMemoryBarriers, v.imageMemoryBarrierCount);
}
void CmdPipelineBarrier2(DeviceWrites& device, const wire::CmdPipelineBarrier2Args& v) {
  WritesTransitions(&device.recordings[v.commandBuffer], v.pDependencyInfo->pImageMemoryBarriers,
                    v.pDependencyInfo->imageMemoryBarrierCount);
}
void CmdWaitEvents(DeviceWrites& device, const wire::CmdWaitEventsArgs& v) {
  WritesTransitions(&device.recordings[v.commandBuffer], v.pImageMemoryBarriers, v.imageMemoryBarrierCount);
}
void CmdWaitEvents2(DeviceWrites& device, const wire::CmdWaitEvents2Args& v) {
  for (const VkDependencyInfo& info : Items(v.pDependencyInfos, v.eventCount)) {
    WritesTransitions(&device.recordings[v.commandBuffer], info.pImageMemoryBarriers, info.imageMemoryBarrierCount);
  }
}
void CmdBeginRenderPass(DeviceWrites& device, const wire::CmdBeginRenderPassArgs& v) {
  BeginPass(&device, v.commandBuffer, *v.pRenderPassBegin);
}
void CmdBeginRenderPass2(DeviceWrites& device, const wire::CmdBeginRenderPass2Args& v) {
  BeginPass(&device, v.commandBuffer, *v.pRenderPassBegin);
}
void CmdBeginRendering(DeviceWrites& device, const wire::CmdBeginRenderingArgs& v) {
  Recording& recording = device.recordings[v.commandBuffer];
  const VkRenderingInfo& info = *v.pRenderingInfo;
  const auto writes = [&](const VkRenderingAttachmentInfo* attachment) {
    if (attachment == nullptr) return;
    WritesView(device, attachment->imageView, &recording);
    if (attachment->resolveMode != VK_RESOLVE_MODE_NONE) WritesView(device, attachment->resolveImageView, &recording);
  };
  for (const auto& attachment : Items(info.pColorAttachments, info.colorAttachmentCount)) writes(&attachment);
  writes(info.pDepthAttachment);
  writes(info.pStencilAttachment);
}

}  // namespace notes
}  // namespace vesper::server
