#include "vesper/compute/one_shot.h"

#include <map>
#include <utility>

#include "compute/src/check.h"
#include "compute/src/device_state.h"
#include "vesper/compute/kernel.h"

namespace vesper::compute {

void ExecuteSingleTimeCommands(const Device& device, const std::function<void(VkCommandBuffer)>& record) {
  const auto submission = Batch(device).Record(record).Submit("single-time commands");
  submission.Wait(device.state()->options().timeout);
}

void ExecuteCommandBuffer(const Device& device, VkCommandBuffer commands) {
  DeviceState& state = *device.state();
  // In between commands of ours, which order it among other work.
  const auto barrier = [](VkCommandBuffer around) { FullBarrier(around); };
  Batch(device).Record(barrier).Submit("what came before a command buffer");
  Work work;
  work.commands = commands;
  work.touches_everything = true;
  work.what = "a command buffer";
  state.Submit(state.compute(), std::move(work));
  Batch(device).Record(barrier).Submit("a command buffer").Wait(state.options().timeout);
}

void CopyHostToBuffer(const void* from, Buffer& to, uint64_t bytes, uint64_t offset) {
  to.Upload(from, bytes, offset).Wait();
}

void CopyBufferToHost(const Buffer& from, void* to, uint64_t bytes, uint64_t offset) {
  from.Download(to, bytes, offset);
}

DescriptorLayout::DescriptorLayout(const Device& device, std::span<const VkDescriptorSetLayoutBinding> bindings)
    : device_(device.state()), bindings_(bindings.begin(), bindings.end()) {
  VkDescriptorSetLayoutCreateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO};
  info.bindingCount = static_cast<uint32_t>(bindings.size());
  info.pBindings = bindings.data();
  Check(vkCreateDescriptorSetLayout(device_->handle(), &info, nullptr, &handle_), ErrorCode::PipelineCreationFailed,
        "creating a descriptor set layout");
}

DescriptorLayout::~DescriptorLayout() {
  if (device_ != nullptr) vkDestroyDescriptorSetLayout(device_->handle(), handle_, nullptr);
}

DescriptorLayout::DescriptorLayout(DescriptorLayout&& other) noexcept
    : device_(std::move(other.device_)),
      bindings_(std::move(other.bindings_)),
      handle_(std::exchange(other.handle_, VK_NULL_HANDLE)) {}

DescriptorLayout& DescriptorLayout::operator=(DescriptorLayout&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(bindings_, other.bindings_);
  std::swap(handle_, other.handle_);
  return *this;
}

DescriptorSets::DescriptorSets(const DescriptorLayout& layout, uint32_t count) : device_(layout.device_) {
  std::map<VkDescriptorType, uint32_t> types;
  for (const auto& binding : layout.bindings_) {
    types[binding.descriptorType] += binding.descriptorCount * count;
  }
  std::vector<VkDescriptorPoolSize> sizes;
  for (const auto& [type, descriptors] : types) sizes.push_back({type, descriptors});
  VkDescriptorPoolCreateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO};
  info.maxSets = count;
  info.poolSizeCount = static_cast<uint32_t>(sizes.size());
  info.pPoolSizes = sizes.data();
  Check(vkCreateDescriptorPool(device_->handle(), &info, nullptr, &pool_), ErrorCode::PipelineCreationFailed,
        "creating a descriptor pool");
  const std::vector<VkDescriptorSetLayout> layouts(count, layout.handle());
  VkDescriptorSetAllocateInfo allocate{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO};
  allocate.descriptorPool = pool_;
  allocate.descriptorSetCount = count;
  allocate.pSetLayouts = layouts.data();
  handles_.resize(count);
  const VkResult result = vkAllocateDescriptorSets(device_->handle(), &allocate, handles_.data());
  if (result == VK_SUCCESS) return;
  vkDestroyDescriptorPool(device_->handle(), pool_, nullptr);
  Check(result, ErrorCode::PipelineCreationFailed, "allocating descriptor sets");
}

DescriptorSets::~DescriptorSets() {
  if (device_ != nullptr) vkDestroyDescriptorPool(device_->handle(), pool_, nullptr);
}

DescriptorSets::DescriptorSets(DescriptorSets&& other) noexcept
    : device_(std::move(other.device_)),
      pool_(std::exchange(other.pool_, VK_NULL_HANDLE)),
      handles_(std::move(other.handles_)) {}

DescriptorSets& DescriptorSets::operator=(DescriptorSets&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(pool_, other.pool_);
  std::swap(handles_, other.handles_);
  return *this;
}

DescriptorLayout CreateDescriptorLayout(const Device& device, uint32_t storage_buffers) {
  std::vector<VkDescriptorSetLayoutBinding> bindings;
  for (uint32_t i = 0; i < storage_buffers; ++i) {
    bindings.push_back({i, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr});
  }
  return DescriptorLayout(device, bindings);
}

DescriptorSets AllocateDescriptorSets(const DescriptorLayout& layout, uint32_t count) {
  return DescriptorSets(layout, count);
}

void UpdateDescriptorSet(const Device& device, VkDescriptorSet set, std::span<const DescriptorUpdate> updates) {
  std::vector<VkDescriptorBufferInfo> buffers;
  buffers.reserve(updates.size());
  std::vector<VkWriteDescriptorSet> writes;
  for (const DescriptorUpdate& update : updates) {
    buffers.push_back({update.range.buffer->handle(), update.range.offset, update.range.bytes});
    VkWriteDescriptorSet write{VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET};
    write.dstSet = set;
    write.dstBinding = update.binding;
    write.descriptorCount = 1;
    write.descriptorType = update.type;
    write.pBufferInfo = &buffers.back();
    writes.push_back(write);
  }
  vkUpdateDescriptorSets(device.handle(), static_cast<uint32_t>(writes.size()), writes.data(), 0, nullptr);
}

}  // namespace vesper::compute
