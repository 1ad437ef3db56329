// Validity conditions that need more than a comparison: which pointers of VkGraphicsPipelineCreateInfo are read, given its
// dynamic state, libraries and rasterizer discard. Policy rows (`read_if = "call …"`) name them; generated encoders call them.
#pragma once

#include <vulkan/vulkan.h>

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

}  // namespace vesper::wire::conditions
