// Shaders, descriptor sets and pipelines with the few options that the tests vary.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "tests/support/vulkan_resources.h"

namespace vesper::test {

using Spirv = std::span<const uint32_t>;

Owned<VkShaderModule> MakeShader(const Context& context, Spirv code);

VkDescriptorSetLayoutBinding Binding(uint32_t number, VkDescriptorType type, VkShaderStageFlags stages,
                                     uint32_t count = 1);
Owned<VkDescriptorSetLayout> MakeSetLayout(const Context& context,
                                           std::span<const VkDescriptorSetLayoutBinding> bindings,
                                           VkDescriptorSetLayoutCreateFlags flags = 0);
Owned<VkPipelineLayout> MakePipelineLayout(const Context& context, std::span<const VkDescriptorSetLayout> sets,
                                           std::span<const VkPushConstantRange> ranges = {});
Owned<VkDescriptorPool> MakeDescriptorPool(const Context& context, uint32_t max_sets,
                                           std::span<const VkDescriptorPoolSize> sizes,
                                           VkDescriptorPoolCreateFlags flags = 0, const void* next = nullptr);
VkDescriptorSet AllocateSet(const Context& context, VkDescriptorPool pool, VkDescriptorSetLayout layout);
void WriteBufferDescriptor(const Context& context, VkDescriptorSet set, uint32_t binding, VkDescriptorType type,
                           const Buffer& buffer);
void WriteImageDescriptor(const Context& context, VkDescriptorSet set, uint32_t binding, VkDescriptorType type,
                          const Image& image, VkSampler sampler, VkImageLayout layout);
Owned<VkSampler> MakeSampler(const Context& context, VkFilter filter);

Owned<VkPipeline> MakeComputePipeline(const Context& context, VkPipelineLayout layout, Spirv code,
                                      const VkSpecializationInfo* constants = nullptr,
                                      VkPipelineCache cache = VK_NULL_HANDLE);

// A compute shader whose bindings 0..n-1 of set 0 are storage buffers, with push constants if any.
struct Kernel {
  Owned<VkDescriptorSetLayout> set_layout;
  Owned<VkPipelineLayout> layout;
  Owned<VkPipeline> pipeline;
  Owned<VkDescriptorPool> pool;
  VkDescriptorSet set = VK_NULL_HANDLE;

  void Bind(VkCommandBuffer commands) const;
};
Kernel MakeKernel(const Context& context, Spirv code, std::span<const Buffer* const> buffers,
                  uint32_t push_constant_bytes = 0, const VkSpecializationInfo* constants = nullptr);

// The state of a graphics pipeline: plain triangles into one colour attachment. Change members,
// then Build. The members point at each other, so it does not move.
struct GraphicsState {
  GraphicsState();
  GraphicsState(const GraphicsState&) = delete;
  GraphicsState& operator=(const GraphicsState&) = delete;

  // `info` names layout, render pass (or a rendering chain), flags.
  Owned<VkPipeline> Build(const Context& context, Spirv vertex, Spirv fragment);

  VkPipelineVertexInputStateCreateInfo vertex_input = {};
  VkPipelineInputAssemblyStateCreateInfo input_assembly = {};
  VkPipelineViewportStateCreateInfo viewport = {};
  VkPipelineRasterizationStateCreateInfo rasterization = {};
  VkPipelineMultisampleStateCreateInfo multisample = {};
  VkPipelineDepthStencilStateCreateInfo depth_stencil = {};
  VkPipelineColorBlendAttachmentState attachment = {};
  VkPipelineColorBlendStateCreateInfo blend = {};
  std::vector<VkDynamicState> dynamic_states;
  VkPipelineDynamicStateCreateInfo dynamic = {};
  const VkSpecializationInfo* vertex_constants = nullptr;
  VkGraphicsPipelineCreateInfo info = {};
};

// Viewport and scissor of the whole extent, which GraphicsState leaves dynamic.
void SetViewport(VkCommandBuffer commands, uint32_t width, uint32_t height);

}  // namespace vesper::test
