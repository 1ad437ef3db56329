#include "runtime/vk/conditions.h"

#include "runtime/wire/chain.h"

namespace vesper::wire::conditions {
namespace {

template <typename T>
const T* FindStruct(const void* chain, VkStructureType type) {
  for (auto* member = static_cast<const VkBaseInStructure*>(chain); member != nullptr; member = member->pNext) {
    if (member->sType == type) return reinterpret_cast<const T*>(member);
  }
  return nullptr;
}

// The subsets of state that this pipeline or library takes from its own create-info: all of them unless it is a library
// of fewer, or links libraries that bring the rest.
VkGraphicsPipelineLibraryFlagsEXT Subsets(const VkGraphicsPipelineCreateInfo& v) {
  const auto* library = FindStruct<VkGraphicsPipelineLibraryCreateInfoEXT>(
      v.pNext, VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_LIBRARY_CREATE_INFO_EXT);
  if (library != nullptr) return library->flags;
  const auto* linked =
      FindStruct<VkPipelineLibraryCreateInfoKHR>(v.pNext, VK_STRUCTURE_TYPE_PIPELINE_LIBRARY_CREATE_INFO_KHR);
  if (linked != nullptr && linked->libraryCount > 0) return 0;
  return VK_GRAPHICS_PIPELINE_LIBRARY_FLAG_BITS_MAX_ENUM_EXT;
}

bool Has(const VkGraphicsPipelineCreateInfo& v, VkGraphicsPipelineLibraryFlagBitsEXT subset) {
  return (Subsets(v) & static_cast<VkGraphicsPipelineLibraryFlagsEXT>(subset)) != 0;
}

bool IsDynamic(const VkGraphicsPipelineCreateInfo& v, VkDynamicState state) {
  for (uint32_t i = 0; v.pDynamicState != nullptr && i < v.pDynamicState->dynamicStateCount; ++i) {
    if (v.pDynamicState->pDynamicStates[i] == state) return true;
  }
  return false;
}

bool HasStage(const VkGraphicsPipelineCreateInfo& v, VkShaderStageFlags stages) {
  for (uint32_t i = 0; NeedsStages(v) && v.pStages != nullptr && i < v.stageCount; ++i) {
    if ((v.pStages[i].stage & stages) != 0) return true;
  }
  return false;
}

constexpr auto kVertexInput = VK_GRAPHICS_PIPELINE_LIBRARY_VERTEX_INPUT_INTERFACE_BIT_EXT;
constexpr auto kPreRasterization = VK_GRAPHICS_PIPELINE_LIBRARY_PRE_RASTERIZATION_SHADERS_BIT_EXT;
constexpr auto kFragmentShader = VK_GRAPHICS_PIPELINE_LIBRARY_FRAGMENT_SHADER_BIT_EXT;
constexpr auto kFragmentOutput = VK_GRAPHICS_PIPELINE_LIBRARY_FRAGMENT_OUTPUT_INTERFACE_BIT_EXT;

// Rasterization is statically off, so that nothing after it is read. Only state of the same create-info can say so.
bool Discards(const VkGraphicsPipelineCreateInfo& v) {
  return Has(v, kPreRasterization) && v.pRasterizationState != nullptr &&
         v.pRasterizationState->rasterizerDiscardEnable == VK_TRUE &&
         !IsDynamic(v, VK_DYNAMIC_STATE_RASTERIZER_DISCARD_ENABLE);
}

// Whether the subpass or the dynamic rendering of `v` can have attachments of the kind at all.
bool RendersDynamically(const VkGraphicsPipelineCreateInfo& v) { return v.renderPass == VK_NULL_HANDLE; }

}  // namespace

bool NeedsStages(const VkGraphicsPipelineCreateInfo& v) { return Has(v, kPreRasterization) || Has(v, kFragmentShader); }

bool NeedsVertexInput(const VkGraphicsPipelineCreateInfo& v) {
  return Has(v, kVertexInput) && !IsDynamic(v, VK_DYNAMIC_STATE_VERTEX_INPUT_EXT) &&
         !HasStage(v, VK_SHADER_STAGE_MESH_BIT_EXT);
}

bool NeedsInputAssembly(const VkGraphicsPipelineCreateInfo& v) {
  return Has(v, kVertexInput) && !HasStage(v, VK_SHADER_STAGE_MESH_BIT_EXT);
}

bool NeedsTessellation(const VkGraphicsPipelineCreateInfo& v) {
  return Has(v, kPreRasterization) &&
         HasStage(v, VK_SHADER_STAGE_TESSELLATION_CONTROL_BIT | VK_SHADER_STAGE_TESSELLATION_EVALUATION_BIT);
}

bool NeedsViewport(const VkGraphicsPipelineCreateInfo& v) { return Has(v, kPreRasterization) && !Discards(v); }

bool NeedsRasterization(const VkGraphicsPipelineCreateInfo& v) { return Has(v, kPreRasterization); }

bool NeedsMultisample(const VkGraphicsPipelineCreateInfo& v) {
  return (Has(v, kFragmentOutput) || Has(v, kFragmentShader)) && !Discards(v);
}

bool NeedsDepthStencil(const VkGraphicsPipelineCreateInfo& v) {
  if (!Has(v, kFragmentShader) || Discards(v)) return false;
  const auto* rendering =
      FindStruct<VkPipelineRenderingCreateInfo>(v.pNext, VK_STRUCTURE_TYPE_PIPELINE_RENDERING_CREATE_INFO);
  const bool output_known = RendersDynamically(v) && rendering != nullptr && Has(v, kFragmentOutput);
  return !output_known || rendering->depthAttachmentFormat != VK_FORMAT_UNDEFINED ||
         rendering->stencilAttachmentFormat != VK_FORMAT_UNDEFINED;
}

bool NeedsColorBlend(const VkGraphicsPipelineCreateInfo& v) {
  if (!Has(v, kFragmentOutput) || Discards(v)) return false;
  const auto* rendering =
      FindStruct<VkPipelineRenderingCreateInfo>(v.pNext, VK_STRUCTURE_TYPE_PIPELINE_RENDERING_CREATE_INFO);
  return !RendersDynamically(v) || rendering == nullptr || rendering->colorAttachmentCount > 0;
}

}  // namespace vesper::wire::conditions
