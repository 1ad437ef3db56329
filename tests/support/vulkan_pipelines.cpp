#include "tests/support/vulkan_pipelines.h"

namespace vesper::test {

Owned<VkShaderModule> MakeShader(const Context& context, Spirv code) {
  VkShaderModuleCreateInfo info = {VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO};
  info.codeSize = code.size_bytes();
  info.pCode = code.data();
  return Create<VkShaderModule>(context.device(), vkCreateShaderModule, vkDestroyShaderModule, info);
}

VkDescriptorSetLayoutBinding Binding(uint32_t number, VkDescriptorType type, VkShaderStageFlags stages,
                                     uint32_t count) {
  VkDescriptorSetLayoutBinding binding = {};
  binding.binding = number;
  binding.descriptorType = type;
  binding.descriptorCount = count;
  binding.stageFlags = stages;
  return binding;
}

Owned<VkDescriptorSetLayout> MakeSetLayout(const Context& context,
                                           std::span<const VkDescriptorSetLayoutBinding> bindings,
                                           VkDescriptorSetLayoutCreateFlags flags) {
  VkDescriptorSetLayoutCreateInfo info = {VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO};
  info.flags = flags;
  info.bindingCount = static_cast<uint32_t>(bindings.size());
  info.pBindings = bindings.data();
  return Create<VkDescriptorSetLayout>(context.device(), vkCreateDescriptorSetLayout, vkDestroyDescriptorSetLayout,
                                       info);
}

Owned<VkPipelineLayout> MakePipelineLayout(const Context& context, std::span<const VkDescriptorSetLayout> sets,
                                           std::span<const VkPushConstantRange> ranges) {
  VkPipelineLayoutCreateInfo info = {VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO};
  info.setLayoutCount = static_cast<uint32_t>(sets.size());
  info.pSetLayouts = sets.data();
  info.pushConstantRangeCount = static_cast<uint32_t>(ranges.size());
  info.pPushConstantRanges = ranges.data();
  return Create<VkPipelineLayout>(context.device(), vkCreatePipelineLayout, vkDestroyPipelineLayout, info);
}

Owned<VkDescriptorPool> MakeDescriptorPool(const Context& context, uint32_t max_sets,
                                           std::span<const VkDescriptorPoolSize> sizes,
                                           VkDescriptorPoolCreateFlags flags, const void* next) {
  VkDescriptorPoolCreateInfo info = {VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO};
  info.pNext = next;
  info.flags = flags;
  info.maxSets = max_sets;
  info.poolSizeCount = static_cast<uint32_t>(sizes.size());
  info.pPoolSizes = sizes.data();
  return Create<VkDescriptorPool>(context.device(), vkCreateDescriptorPool, vkDestroyDescriptorPool, info);
}

VkDescriptorSet AllocateSet(const Context& context, VkDescriptorPool pool, VkDescriptorSetLayout layout) {
  VkDescriptorSetAllocateInfo info = {VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO};
  info.descriptorPool = pool;
  info.descriptorSetCount = 1;
  info.pSetLayouts = &layout;
  VkDescriptorSet set = VK_NULL_HANDLE;
  VK_CHECK(vkAllocateDescriptorSets(context.device(), &info, &set));
  return set;
}

namespace {

VkWriteDescriptorSet OneWrite(VkDescriptorSet set, uint32_t binding, VkDescriptorType type) {
  VkWriteDescriptorSet write = {VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET};
  write.dstSet = set;
  write.dstBinding = binding;
  write.descriptorCount = 1;
  write.descriptorType = type;
  return write;
}

}  // namespace

void WriteBufferDescriptor(const Context& context, VkDescriptorSet set, uint32_t binding, VkDescriptorType type,
                           const Buffer& buffer) {
  const VkDescriptorBufferInfo info = {buffer.handle, 0, VK_WHOLE_SIZE};
  VkWriteDescriptorSet write = OneWrite(set, binding, type);
  write.pBufferInfo = &info;
  vkUpdateDescriptorSets(context.device(), 1, &write, 0, nullptr);
}

void WriteImageDescriptor(const Context& context, VkDescriptorSet set, uint32_t binding, VkDescriptorType type,
                          const Image& image, VkSampler sampler, VkImageLayout layout) {
  const VkDescriptorImageInfo info = {sampler, image.view, layout};
  VkWriteDescriptorSet write = OneWrite(set, binding, type);
  write.pImageInfo = &info;
  vkUpdateDescriptorSets(context.device(), 1, &write, 0, nullptr);
}

Owned<VkSampler> MakeSampler(const Context& context, VkFilter filter) {
  VkSamplerCreateInfo info = {VK_STRUCTURE_TYPE_SAMPLER_CREATE_INFO};
  info.magFilter = filter;
  info.minFilter = filter;
  info.addressModeU = VK_SAMPLER_ADDRESS_MODE_CLAMP_TO_EDGE;
  info.addressModeV = VK_SAMPLER_ADDRESS_MODE_CLAMP_TO_EDGE;
  info.addressModeW = VK_SAMPLER_ADDRESS_MODE_CLAMP_TO_EDGE;
  return Create<VkSampler>(context.device(), vkCreateSampler, vkDestroySampler, info);
}

Owned<VkPipeline> MakeComputePipeline(const Context& context, VkPipelineLayout layout, Spirv code,
                                      const VkSpecializationInfo* constants, VkPipelineCache cache) {
  const Owned<VkShaderModule> shader = MakeShader(context, code);
  VkComputePipelineCreateInfo info = {VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO};
  info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
  info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
  info.stage.module = shader;
  info.stage.pName = "main";
  info.stage.pSpecializationInfo = constants;
  info.layout = layout;
  VkPipeline pipeline = VK_NULL_HANDLE;
  VK_CHECK(vkCreateComputePipelines(context.device(), cache, 1, &info, nullptr, &pipeline));
  return {context.device(), pipeline, vkDestroyPipeline};
}

Kernel MakeKernel(const Context& context, Spirv code, std::span<const Buffer* const> buffers,
                  uint32_t push_constant_bytes, const VkSpecializationInfo* constants) {
  Kernel kernel;
  const auto count = static_cast<uint32_t>(buffers.size());
  std::vector<VkDescriptorSetLayoutBinding> bindings;
  for (uint32_t i = 0; i < count; ++i) {
    bindings.push_back(Binding(i, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, VK_SHADER_STAGE_COMPUTE_BIT));
  }
  kernel.set_layout = MakeSetLayout(context, bindings);
  const VkPushConstantRange range = {VK_SHADER_STAGE_COMPUTE_BIT, 0, push_constant_bytes};
  kernel.layout =
      MakePipelineLayout(context, {kernel.set_layout.address(), 1}, {&range, push_constant_bytes == 0 ? 0u : 1u});
  kernel.pipeline = MakeComputePipeline(context, kernel.layout, code, constants);
  const VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, count == 0 ? 1 : count};
  kernel.pool = MakeDescriptorPool(context, 1, {&size, 1});
  kernel.set = AllocateSet(context, kernel.pool, kernel.set_layout);
  for (uint32_t i = 0; i < count; ++i) {
    WriteBufferDescriptor(context, kernel.set, i, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, *buffers[i]);
  }
  return kernel;
}

void Kernel::Bind(VkCommandBuffer commands) const {
  vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
  vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout, 0, 1, &set, 0, nullptr);
}

GraphicsState::GraphicsState() : dynamic_states{VK_DYNAMIC_STATE_VIEWPORT, VK_DYNAMIC_STATE_SCISSOR} {
  vertex_input.sType = VK_STRUCTURE_TYPE_PIPELINE_VERTEX_INPUT_STATE_CREATE_INFO;
  input_assembly.sType = VK_STRUCTURE_TYPE_PIPELINE_INPUT_ASSEMBLY_STATE_CREATE_INFO;
  input_assembly.topology = VK_PRIMITIVE_TOPOLOGY_TRIANGLE_LIST;
  viewport.sType = VK_STRUCTURE_TYPE_PIPELINE_VIEWPORT_STATE_CREATE_INFO;
  viewport.viewportCount = 1;
  viewport.scissorCount = 1;
  rasterization.sType = VK_STRUCTURE_TYPE_PIPELINE_RASTERIZATION_STATE_CREATE_INFO;
  rasterization.lineWidth = 1.0f;
  multisample.sType = VK_STRUCTURE_TYPE_PIPELINE_MULTISAMPLE_STATE_CREATE_INFO;
  multisample.rasterizationSamples = VK_SAMPLE_COUNT_1_BIT;
  depth_stencil.sType = VK_STRUCTURE_TYPE_PIPELINE_DEPTH_STENCIL_STATE_CREATE_INFO;
  attachment.colorWriteMask =
      VK_COLOR_COMPONENT_R_BIT | VK_COLOR_COMPONENT_G_BIT | VK_COLOR_COMPONENT_B_BIT | VK_COLOR_COMPONENT_A_BIT;
  blend.sType = VK_STRUCTURE_TYPE_PIPELINE_COLOR_BLEND_STATE_CREATE_INFO;
  blend.attachmentCount = 1;
  blend.pAttachments = &attachment;
  dynamic.sType = VK_STRUCTURE_TYPE_PIPELINE_DYNAMIC_STATE_CREATE_INFO;
  info.sType = VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_CREATE_INFO;
  info.pVertexInputState = &vertex_input;
  info.pInputAssemblyState = &input_assembly;
  info.pViewportState = &viewport;
  info.pRasterizationState = &rasterization;
  info.pMultisampleState = &multisample;
  info.pDepthStencilState = &depth_stencil;
  info.pColorBlendState = &blend;
  info.pDynamicState = &dynamic;
  info.basePipelineIndex = -1;
}

Owned<VkPipeline> GraphicsState::Build(const Context& context, Spirv vertex, Spirv fragment) {
  const Owned<VkShaderModule> vertex_shader = MakeShader(context, vertex);
  const Owned<VkShaderModule> fragment_shader = MakeShader(context, fragment);
  std::array<VkPipelineShaderStageCreateInfo, 2> stages = {};
  stages[0].sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
  stages[0].stage = VK_SHADER_STAGE_VERTEX_BIT;
  stages[0].module = vertex_shader;
  stages[0].pName = "main";
  stages[0].pSpecializationInfo = vertex_constants;
  stages[1].sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
  stages[1].stage = VK_SHADER_STAGE_FRAGMENT_BIT;
  stages[1].module = fragment_shader;
  stages[1].pName = "main";
  info.stageCount = 2;
  info.pStages = stages.data();
  dynamic.dynamicStateCount = static_cast<uint32_t>(dynamic_states.size());
  dynamic.pDynamicStates = dynamic_states.data();
  VkPipeline pipeline = VK_NULL_HANDLE;
  VK_CHECK(vkCreateGraphicsPipelines(context.device(), VK_NULL_HANDLE, 1, &info, nullptr, &pipeline));
  return {context.device(), pipeline, vkDestroyPipeline};
}

void SetViewport(VkCommandBuffer commands, uint32_t width, uint32_t height) {
  const VkViewport viewport = {0.0f, 0.0f, static_cast<float>(width), static_cast<float>(height), 0.0f, 1.0f};
  const VkRect2D scissor = {{0, 0}, {width, height}};
  vkCmdSetViewport(commands, 0, 1, &viewport);
  vkCmdSetScissor(commands, 0, 1, &scissor);
}

}  // namespace vesper::test
