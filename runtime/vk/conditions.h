// Validity conditions that need more than a comparison: which pointers are read, given dynamic state, libraries, rasterizer
// discard and what is rendered to. Policy rows name them (`read_if = "call …"`, `within …`, `dynamic …`); generated encoders
// call them.
#pragma once

#include <vulkan/vulkan.h>

#include <initializer_list>

#include "runtime/wire/encoder.h"

namespace vesper::wire::conditions {

// Each answers for the member that its name says, e.g. NeedsViewport for pViewportState. A struct that a valid program may
// leave dangling is never looked at. Sources: the valid usage of VkGraphicsPipelineCreateInfo and VK_EXT_graphics_pipeline_library.
bool NeedsStages(const VkGraphicsPipelineCreateInfo& v);
bool NeedsVertexInput(const VkGraphicsPipelineCreateInfo& v);
bool NeedsInputAssembly(const VkGraphicsPipelineCreateInfo& v);
bool NeedsTessellation(const VkGraphicsPipelineCreateInfo& v);
bool NeedsViewport(const VkGraphicsPipelineCreateInfo& v);
bool NeedsRasterization(const VkGraphicsPipelineCreateInfo& v);
bool NeedsMultisample(const VkGraphicsPipelineCreateInfo& v);
bool NeedsDepthStencil(const VkGraphicsPipelineCreateInfo& v);
bool NeedsColorBlend(const VkGraphicsPipelineCreateInfo& v);
bool NeedsLayout(const VkGraphicsPipelineCreateInfo& v);
bool NeedsRenderPass(const VkGraphicsPipelineCreateInfo& v);
bool NeedsVertexInput(const VkGraphicsShaderGroupCreateInfoNV& v);
bool NeedsTessellation(const VkGraphicsShaderGroupCreateInfoNV& v);

// Of a struct in a graphics pipeline's create-info: whether all of `states` are dynamic there, so that what they replace is
// ignored. False of a struct anywhere else.
bool AreDynamic(const Around& around, std::initializer_list<VkDynamicState> states);

// Formats and sample counts of attachments beside a render pass, in the chain of a graphics pipeline's create-info or of a
// secondary command buffer's inheritance: read without a render pass alone, by what brings fragment output, or continues one.
bool ReadsAttachments(const Around& around);

#ifdef VULKAN_VIDEO_CODEC_H265STD_H_
// What Around says of structs without an sType.
constexpr int32_t kStdVideoH265VideoParameterSet = -1, kStdVideoH265SequenceParameterSet = -2;
// How many sub-layers the parameter set around bit rates speaks of; as many bit rates there are.
uint32_t SubLayers(const Around& around);
#endif

// A creation that drivers refuse for its size alone, as they may from here on, is not answered before they have been asked.
// Of the arguments of vkCreateBuffer and vkCreateImage; programs that ask for so much do it rarely.
template <typename Args>
bool IsLargeBuffer(const Args& v) {
  constexpr VkDeviceSize kLarge = VkDeviceSize{1} << 30;  // the least maxBufferSize there is
  return v.pCreateInfo != nullptr && v.pCreateInfo->size >= kLarge;
}
bool IsLargeImage(const VkImageCreateInfo& info);
template <typename Args>
bool IsLargeImage(const Args& v) {
  return v.pCreateInfo != nullptr && IsLargeImage(*v.pCreateInfo);
}

}  // namespace vesper::wire::conditions
