// What a Kernel is: a pipeline and the descriptor sets that its launches use. Kept alive by the
// handle and by launches under way; always ends before its device.
#pragma once

#include <vulkan/vulkan.h>

#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "compute/src/device_state.h"
#include "vesper/compute/kernel.h"

namespace vesper::compute {

// Descriptor sets of one layout: a set serves again when the launch that used it is done.
// Thread-safe.
class DescriptorSetCache {
 public:
  DescriptorSetCache(DeviceState* device, VkDescriptorSetLayout layout, const std::vector<KernelBinding>& bindings);
  ~DescriptorSetCache();

  // Throws PipelineCreationFailed.
  VkDescriptorSet Take();
  void Submitted(VkDescriptorSet set, uint64_t value);  // of the compute queue
  void Dropped(VkDescriptorSet set);

 private:
  struct InFlight {
    VkDescriptorSet set;
    uint64_t value;
  };
  void Grow();

  DeviceState* const device_;
  const VkDescriptorSetLayout layout_;
  uint32_t storage_buffers_ = 0;
  uint32_t uniform_buffers_ = 0;
  std::mutex mutex_;
  std::vector<VkDescriptorPool> pools_;
  std::vector<VkDescriptorSet> idle_;
  std::deque<InFlight> in_flight_;
  uint32_t next_pool_sets_ = 16;
};

class KernelState {
 public:
  KernelState(DeviceState* device, std::span<const uint32_t> spirv, const KernelOptions& options);
  ~KernelState();
  KernelState(const KernelState&) = delete;
  KernelState& operator=(const KernelState&) = delete;

  DeviceState* device() const { return device_; }
  const std::string& name() const { return name_; }
  const KernelReflection& reflection() const { return reflection_; }
  VkPipeline pipeline() const { return pipeline_; }
  VkPipelineLayout layout() const { return layout_; }
  DescriptorSetCache& sets() { return *sets_; }

 private:
  void CheckLimits() const;
  void CreateLayouts();
  void CreatePipeline(std::span<const uint32_t> spirv, const KernelOptions& options);
  void Destroy();

  DeviceState* const device_;
  const std::string name_;
  KernelReflection reflection_;
  VkDescriptorSetLayout set_layout_ = VK_NULL_HANDLE;
  VkPipelineLayout layout_ = VK_NULL_HANDLE;
  VkPipeline pipeline_ = VK_NULL_HANDLE;
  std::unique_ptr<DescriptorSetCache> sets_;
};

}  // namespace vesper::compute
