#include "runtime/vk/conditions.h"

#include <algorithm>

#include "runtime/vk/chain.h"

namespace vesper::wire::conditions {
namespace {

bool LinksLibraries(const VkGraphicsPipelineCreateInfo& v) {
  const auto* linked =
      FindInChain<VkPipelineLibraryCreateInfoKHR>(v.pNext, VK_STRUCTURE_TYPE_PIPELINE_LIBRARY_CREATE_INFO_KHR);
  return linked != nullptr && linked->libraryCount > 0;
}

// The subsets of state that this pipeline or library takes from its own create-info: all of them unless it is a library
// of fewer, or links libraries that bring the rest.
VkGraphicsPipelineLibraryFlagsEXT Subsets(const VkGraphicsPipelineCreateInfo& v) {
  const auto* library = FindInChain<VkGraphicsPipelineLibraryCreateInfoEXT>(
      v.pNext, VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_LIBRARY_CREATE_INFO_EXT);
  if (library != nullptr) return library->flags;
  return LinksLibraries(v) ? 0 : VK_GRAPHICS_PIPELINE_LIBRARY_FLAG_BITS_MAX_ENUM_EXT;
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

template <typename Info>
bool AnyStage(const Info& v, VkShaderStageFlags stages) {
  for (uint32_t i = 0; v.pStages != nullptr && i < v.stageCount; ++i) {
    if ((v.pStages[i].stage & stages) != 0) return true;
  }
  return false;
}

bool HasStage(const VkGraphicsPipelineCreateInfo& v, VkShaderStageFlags stages) {
  return NeedsStages(v) && AnyStage(v, stages);
}

constexpr VkShaderStageFlags kTessellation =
    VK_SHADER_STAGE_TESSELLATION_CONTROL_BIT | VK_SHADER_STAGE_TESSELLATION_EVALUATION_BIT;

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
  return Has(v, kPreRasterization) && HasStage(v, kTessellation);
}

bool NeedsViewport(const VkGraphicsPipelineCreateInfo& v) { return Has(v, kPreRasterization) && !Discards(v); }

bool NeedsRasterization(const VkGraphicsPipelineCreateInfo& v) { return Has(v, kPreRasterization); }

bool NeedsMultisample(const VkGraphicsPipelineCreateInfo& v) {
  return (Has(v, kFragmentOutput) || Has(v, kFragmentShader)) && !Discards(v);
}

// What a dynamic rendering is made for is known where this create-info brings the fragment output.
bool NeedsDepthStencil(const VkGraphicsPipelineCreateInfo& v) {
  if (!Has(v, kFragmentShader) || Discards(v)) return false;
  if (!RendersDynamically(v) || !Has(v, kFragmentOutput)) return true;
  const auto* rendering =
      FindInChain<VkPipelineRenderingCreateInfo>(v.pNext, VK_STRUCTURE_TYPE_PIPELINE_RENDERING_CREATE_INFO);
  return rendering != nullptr && (rendering->depthAttachmentFormat != VK_FORMAT_UNDEFINED ||
                                  rendering->stencilAttachmentFormat != VK_FORMAT_UNDEFINED);
}

bool NeedsColorBlend(const VkGraphicsPipelineCreateInfo& v) {
  if (!Has(v, kFragmentOutput) || Discards(v)) return false;
  if (!RendersDynamically(v)) return true;
  const auto* rendering =
      FindInChain<VkPipelineRenderingCreateInfo>(v.pNext, VK_STRUCTURE_TYPE_PIPELINE_RENDERING_CREATE_INFO);
  return rendering != nullptr && rendering->colorAttachmentCount > 0;
}

bool NeedsLayout(const VkGraphicsPipelineCreateInfo& v) { return NeedsStages(v) || LinksLibraries(v); }

bool NeedsRenderPass(const VkGraphicsPipelineCreateInfo& v) {
  return NeedsStages(v) || Has(v, kFragmentOutput) || LinksLibraries(v);
}

bool NeedsVertexInput(const VkGraphicsShaderGroupCreateInfoNV& v) { return !AnyStage(v, VK_SHADER_STAGE_MESH_BIT_EXT); }

bool NeedsTessellation(const VkGraphicsShaderGroupCreateInfoNV& v) { return AnyStage(v, kTessellation); }

bool AreDynamic(const Around& around, std::initializer_list<VkDynamicState> states) {
  if (around.type != VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_CREATE_INFO) return false;
  const auto& v = *static_cast<const VkGraphicsPipelineCreateInfo*>(around.value);
  return std::all_of(states.begin(), states.end(), [&](VkDynamicState state) { return IsDynamic(v, state); });
}

bool ReadsAttachments(const Around& around) {
  if (around.type == VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_CREATE_INFO) {
    const auto& v = *static_cast<const VkGraphicsPipelineCreateInfo*>(around.value);
    return Has(v, kFragmentOutput) && RendersDynamically(v);
  }
  if (around.type == VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO) {
    const auto& v = *static_cast<const VkCommandBufferBeginInfo*>(around.value);
    return (v.flags & VK_COMMAND_BUFFER_USAGE_RENDER_PASS_CONTINUE_BIT) != 0 && v.pInheritanceInfo != nullptr &&
           v.pInheritanceInfo->renderPass == VK_NULL_HANDLE;
  }
  return true;
}

#ifdef VULKAN_VIDEO_CODEC_H265STD_H_
uint32_t SubLayers(const Around& around) {
  uint32_t last = 0;
  if (around.type == kStdVideoH265VideoParameterSet) {
    last = static_cast<const StdVideoH265VideoParameterSet*>(around.value)->vps_max_sub_layers_minus1;
  } else if (around.type == kStdVideoH265SequenceParameterSet) {
    last = static_cast<const StdVideoH265SequenceParameterSet*>(around.value)->sps_max_sub_layers_minus1;
  }
  return std::min<uint32_t>(last, STD_VIDEO_H265_SUBLAYERS_LIST_SIZE - 1) + 1;
}
#endif

bool IsLargeImage(const VkImageCreateInfo& info) {
  constexpr uint32_t kWide = 1u << 14, kDeep = 1u << 11;  // beyond what most devices take
  constexpr double kMany = 1u << 28;
  const VkExtent3D extent = info.extent;
  const double texels =
      double{1} * extent.width * extent.height * extent.depth * info.arrayLayers * static_cast<uint32_t>(info.samples);
  return extent.width > kWide || extent.height > kWide || extent.depth > kDeep || info.arrayLayers > kDeep ||
         texels >= kMany;
}

}  // namespace vesper::wire::conditions
