#include "vesper/compute/kernel.h"

#include <algorithm>

#include "compute/src/check.h"
#include "compute/src/kernel_state.h"
#include "compute/src/spirv.h"

namespace vesper::compute {
namespace {

constexpr uint32_t kLargestPool = 1024;

// The constants' values, laid out as Vulkan wants them.
struct Specialization {
  explicit Specialization(const std::vector<SpecializationConstant>& constants) {
    for (const SpecializationConstant& constant : constants) {
      if (constant.bytes == 0 || constant.bytes > sizeof constant.bits) {
        throw Error(ErrorCode::PipelineCreationFailed, "specializing constant " + std::to_string(constant.id) +
                                                           " with " + std::to_string(constant.bytes) + " bytes");
      }
      entries.push_back({constant.id, static_cast<uint32_t>(values.size() * sizeof(uint64_t)), constant.bytes});
      values.push_back(constant.bits);  // the low bytes come first
    }
    info.mapEntryCount = static_cast<uint32_t>(entries.size());
    info.pMapEntries = entries.data();
    info.dataSize = values.size() * sizeof(uint64_t);
    info.pData = values.data();
  }

  std::vector<VkSpecializationMapEntry> entries;
  std::vector<uint64_t> values;
  VkSpecializationInfo info = {};
};

}  // namespace

DescriptorSetCache::DescriptorSetCache(DeviceState* device, VkDescriptorSetLayout layout,
                                       const std::vector<KernelBinding>& bindings)
    : device_(device), layout_(layout) {
  for (const KernelBinding& binding : bindings) {
    ++(binding.type == VK_DESCRIPTOR_TYPE_STORAGE_BUFFER ? storage_buffers_ : uniform_buffers_);
  }
}

DescriptorSetCache::~DescriptorSetCache() {
  for (const VkDescriptorPool pool : pools_) {
    vkDestroyDescriptorPool(device_->handle(), pool, nullptr);
  }
}

VkDescriptorSet DescriptorSetCache::Take() {
  const std::lock_guard lock(mutex_);
  while (!in_flight_.empty() && device_->compute().Reached(in_flight_.front().value)) {
    idle_.push_back(in_flight_.front().set);
    in_flight_.pop_front();
  }
  if (idle_.empty()) Grow();
  const VkDescriptorSet set = idle_.back();
  idle_.pop_back();
  return set;
}

void DescriptorSetCache::Grow() {
  const uint32_t count = next_pool_sets_;
  std::vector<VkDescriptorPoolSize> sizes;
  if (storage_buffers_ != 0) {
    sizes.push_back({VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, storage_buffers_ * count});
  }
  if (uniform_buffers_ != 0) {
    sizes.push_back({VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER, uniform_buffers_ * count});
  }
  VkDescriptorPoolCreateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO};
  info.maxSets = count;
  info.poolSizeCount = static_cast<uint32_t>(sizes.size());
  info.pPoolSizes = sizes.data();
  VkDescriptorPool pool = VK_NULL_HANDLE;
  Check(vkCreateDescriptorPool(device_->handle(), &info, nullptr, &pool), ErrorCode::PipelineCreationFailed,
        "creating a descriptor pool");
  pools_.push_back(pool);
  next_pool_sets_ = std::min(count * 2, kLargestPool);
  const std::vector<VkDescriptorSetLayout> layouts(count, layout_);
  VkDescriptorSetAllocateInfo sets{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO};
  sets.descriptorPool = pool;
  sets.descriptorSetCount = count;
  sets.pSetLayouts = layouts.data();
  idle_.resize(count);
  const VkResult result = vkAllocateDescriptorSets(device_->handle(), &sets, idle_.data());
  if (result != VK_SUCCESS) idle_.clear();
  Check(result, ErrorCode::PipelineCreationFailed, "allocating descriptor sets");
}

void DescriptorSetCache::Submitted(VkDescriptorSet set, uint64_t value) {
  const std::lock_guard lock(mutex_);
  in_flight_.push_back({set, value});
}

void DescriptorSetCache::Dropped(VkDescriptorSet set) {
  const std::lock_guard lock(mutex_);
  idle_.push_back(set);
}

KernelState::KernelState(DeviceState* device, std::span<const uint32_t> spirv, const KernelOptions& options)
    : device_(device), name_(options.name) {
  CheckSpirv(spirv, name_, options.validate);
  reflection_ = options.reflection ? *options.reflection : Reflect(spirv, options);
  CheckLimits();
  try {
    CreateLayouts();
    CreatePipeline(spirv, options);
    sets_ = std::make_unique<DescriptorSetCache>(device, set_layout_, reflection_.bindings);
  } catch (...) {
    Destroy();
    throw;
  }
}

KernelState::~KernelState() { Destroy(); }

void KernelState::Destroy() {
  sets_.reset();
  vkDestroyPipeline(device_->handle(), pipeline_, nullptr);
  vkDestroyPipelineLayout(device_->handle(), layout_, nullptr);
  vkDestroyDescriptorSetLayout(device_->handle(), set_layout_, nullptr);
}

void KernelState::CheckLimits() const {
  const VkPhysicalDeviceLimits& limits = device_->properties().limits;
  const auto fail = [&](const std::string& why) {
    throw Error(ErrorCode::PipelineCreationFailed, "creating " + name_ + ": " + why);
  };
  if (reflection_.push_constant_bytes > limits.maxPushConstantsSize) {
    fail(std::to_string(reflection_.push_constant_bytes) + " bytes of push constants");
  }
  uint64_t invocations = 1;
  for (size_t i = 0; i < 3; ++i) {
    const uint32_t size = reflection_.local_size[i];
    if (size == 0 || size > limits.maxComputeWorkGroupSize[i]) {
      fail("a local size of " + std::to_string(size) + " in dimension " + std::to_string(i));
    }
    invocations *= size;
  }
  if (invocations > limits.maxComputeWorkGroupInvocations) {
    fail(std::to_string(invocations) + " invocations in a work-group");
  }
  if (reflection_.bindings.size() > limits.maxPerStageResources) {
    fail(std::to_string(reflection_.bindings.size()) + " bindings");
  }
}

void KernelState::CreateLayouts() {
  std::vector<VkDescriptorSetLayoutBinding> bindings;
  for (const KernelBinding& binding : reflection_.bindings) {
    bindings.push_back({binding.binding, binding.type, 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr});
  }
  VkDescriptorSetLayoutCreateInfo set{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO};
  set.bindingCount = static_cast<uint32_t>(bindings.size());
  set.pBindings = bindings.data();
  Check(vkCreateDescriptorSetLayout(device_->handle(), &set, nullptr, &set_layout_), ErrorCode::PipelineCreationFailed,
        ("creating the set layout of " + name_).c_str());
  const VkPushConstantRange push{VK_SHADER_STAGE_COMPUTE_BIT, 0, reflection_.push_constant_bytes};
  VkPipelineLayoutCreateInfo layout{VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO};
  layout.setLayoutCount = 1;
  layout.pSetLayouts = &set_layout_;
  layout.pushConstantRangeCount = push.size != 0 ? 1 : 0;
  layout.pPushConstantRanges = &push;
  Check(vkCreatePipelineLayout(device_->handle(), &layout, nullptr, &layout_), ErrorCode::PipelineCreationFailed,
        ("creating the layout of " + name_).c_str());
}

void KernelState::CreatePipeline(std::span<const uint32_t> spirv, const KernelOptions& options) {
  VkShaderModuleCreateInfo module_info{VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO};
  module_info.codeSize = spirv.size_bytes();
  module_info.pCode = spirv.data();
  const Specialization specialization(options.constants);
  VkPipelineShaderStageRequiredSubgroupSizeCreateInfo subgroup{
      VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO};
  subgroup.requiredSubgroupSize = options.subgroup_size;
  VkComputePipelineCreateInfo info{VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO};
  info.layout = layout_;
  info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
  if (options.subgroup_size != 0) {
    if (!device_->features().subgroup_size_control) {
      throw Error(ErrorCode::PipelineCreationFailed, "choosing the subgroup size of " + name_,
                  VK_ERROR_FEATURE_NOT_PRESENT);
    }
    info.stage.pNext = &subgroup;
  }
  info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
  info.stage.pName = options.entry_point.c_str();
  info.stage.pSpecializationInfo = &specialization.info;
  Check(vkCreateShaderModule(device_->handle(), &module_info, nullptr, &info.stage.module),
        ErrorCode::PipelineCreationFailed, ("creating the shader module of " + name_).c_str());
  const VkResult result =
      vkCreateComputePipelines(device_->handle(), device_->pipeline_cache().handle(), 1, &info, nullptr, &pipeline_);
  vkDestroyShaderModule(device_->handle(), info.stage.module, nullptr);
  Check(result, ErrorCode::PipelineCreationFailed, ("creating the pipeline of " + name_).c_str());
  device_->pipeline_cache().Touch();
}

Kernel::Kernel(const Device& device, std::span<const uint32_t> spirv, const KernelOptions& options)
    : device_(device.state()), state_(std::make_shared<KernelState>(device_.get(), spirv, options)) {}
Kernel::~Kernel() = default;
Kernel::Kernel(Kernel&&) noexcept = default;

Kernel& Kernel::operator=(Kernel&& other) noexcept {
  state_ = std::move(other.state_);  // the old one ends before its device
  device_ = std::move(other.device_);
  return *this;
}

const std::string& Kernel::name() const { return state_->name(); }
const KernelReflection& Kernel::reflection() const { return state_->reflection(); }
VkPipeline Kernel::pipeline() const { return state_->pipeline(); }

void Kernel::CountGroups(const Grid& grid, uint32_t (&groups)[3]) const {
  const VkPhysicalDeviceLimits& limits = device_->properties().limits;
  for (size_t i = 0; i < 3; ++i) {
    const uint32_t local = grid.threads ? reflection().local_size[i] : 1;
    groups[i] = grid.size[i] / local + (grid.size[i] % local != 0 ? 1 : 0);
    if (groups[i] > limits.maxComputeWorkGroupCount[i]) {
      throw Error(ErrorCode::ExecutionFailed, "launching " + name() + " with " + std::to_string(groups[i]) +
                                                  " work-groups in dimension " + std::to_string(i) + ", of at most " +
                                                  std::to_string(limits.maxComputeWorkGroupCount[i]));
    }
  }
}

}  // namespace vesper::compute
