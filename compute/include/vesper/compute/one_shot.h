// Single steps for programs that bring Vulkan code of their own, under the names by which the
// field's compute back ends have them. Each runs to completion, within the device's time limit.
// Public: see docs/compute.md.
#pragma once

#include <vulkan/vulkan.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "vesper/compute/buffer.h"
#include "vesper/compute/device.h"
#include "vesper/compute/export.h"

namespace vesper::compute {

// Records with `record` into a fresh command buffer of the compute queue, runs it, waits.
VESPER_COMPUTE_API void ExecuteSingleTimeCommands(const Device& device,
                                                  const std::function<void(VkCommandBuffer)>& record);

// Runs a command buffer that the caller recorded (for compute_family()) and waits. Work of this
// library submitted before is done when it starts.
VESPER_COMPUTE_API void ExecuteCommandBuffer(const Device& device, VkCommandBuffer commands);

VESPER_COMPUTE_API void CopyHostToBuffer(const void* from, Buffer& to, uint64_t bytes, uint64_t offset = 0);
VESPER_COMPUTE_API void CopyBufferToHost(const Buffer& from, void* to, uint64_t bytes, uint64_t offset = 0);

// A descriptor set layout; move-only, holds on to the device.
class VESPER_COMPUTE_API DescriptorLayout {
 public:
  DescriptorLayout(const Device& device, std::span<const VkDescriptorSetLayoutBinding> bindings);
  ~DescriptorLayout();
  DescriptorLayout(DescriptorLayout&&) noexcept;
  DescriptorLayout& operator=(DescriptorLayout&&) noexcept;

  VkDescriptorSetLayout handle() const { return handle_; }

 private:
  friend class DescriptorSets;
  std::shared_ptr<DeviceState> device_;
  std::vector<VkDescriptorSetLayoutBinding> bindings_;
  VkDescriptorSetLayout handle_ = VK_NULL_HANDLE;
};

// Sets of one layout in a pool of their own, which ends with them.
class VESPER_COMPUTE_API DescriptorSets {
 public:
  DescriptorSets(const DescriptorLayout& layout, uint32_t count);
  ~DescriptorSets();
  DescriptorSets(DescriptorSets&&) noexcept;
  DescriptorSets& operator=(DescriptorSets&&) noexcept;

  const std::vector<VkDescriptorSet>& handles() const { return handles_; }
  VkDescriptorSet operator[](size_t index) const { return handles_.at(index); }

 private:
  std::shared_ptr<DeviceState> device_;
  VkDescriptorPool pool_ = VK_NULL_HANDLE;
  std::vector<VkDescriptorSet> handles_;
};

struct DescriptorUpdate {
  uint32_t binding;
  VkDescriptorType type;
  BufferRange range;
};

// A layout of storage buffers at bindings 0 … count - 1, for the compute stage.
VESPER_COMPUTE_API DescriptorLayout CreateDescriptorLayout(const Device& device, uint32_t storage_buffers);
VESPER_COMPUTE_API DescriptorSets AllocateDescriptorSets(const DescriptorLayout& layout, uint32_t count = 1);
VESPER_COMPUTE_API void UpdateDescriptorSet(const Device& device, VkDescriptorSet set,
                                            std::span<const DescriptorUpdate> updates);

}  // namespace vesper::compute
