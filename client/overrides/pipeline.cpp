// Graphics pipelines: a valid program may leave pointers dangling that the state it made dynamic, or the subpass it renders
// in, makes the driver ignore. They are cleared in a copy before the mechanical entry point reads it.
#include <memory>
#include <new>
#include <vector>

#include "client/object.h"
#include "client/overrides/render_pass.h"
#include "client/session.h"
#include "generated/client/entry_points.h"
#include "generated/client/overrides.h"
#include "runtime/vk/conditions.h"

namespace vesper::client::overrides {
namespace {

bool IsDynamic(const VkGraphicsPipelineCreateInfo& info, VkDynamicState one, VkDynamicState other) {
  for (uint32_t i = 0; info.pDynamicState != nullptr && i < info.pDynamicState->dynamicStateCount; ++i) {
    const VkDynamicState state = info.pDynamicState->pDynamicStates[i];
    if (state == one || state == other) return true;
  }
  return false;
}

void ClearViewports(VkGraphicsPipelineCreateInfo* info, VkPipelineViewportStateCreateInfo* copy) {
  if (!wire::conditions::NeedsViewport(*info) || info->pViewportState == nullptr) return;
  *copy = *info->pViewportState;
  if (IsDynamic(*info, VK_DYNAMIC_STATE_VIEWPORT, VK_DYNAMIC_STATE_VIEWPORT_WITH_COUNT)) copy->pViewports = nullptr;
  if (IsDynamic(*info, VK_DYNAMIC_STATE_SCISSOR, VK_DYNAMIC_STATE_SCISSOR_WITH_COUNT)) copy->pScissors = nullptr;
  info->pViewportState = copy;
}

void ClearUnusedAttachments(Session& session, VkGraphicsPipelineCreateInfo* info) {
  if (info->renderPass == VK_NULL_HANDLE) return;
  const auto* render_pass = session.states().Get<RenderPassState>(info->renderPass);
  if (render_pass == nullptr || info->subpass >= render_pass->subpasses.size()) return;
  const SubpassUse& use = render_pass->subpasses[info->subpass];
  if (!use.depth_stencil) info->pDepthStencilState = nullptr;
  if (!use.color) info->pColorBlendState = nullptr;
}

}  // namespace

VKAPI_ATTR VkResult VKAPI_CALL CreateGraphicsPipelines(VkDevice device, VkPipelineCache pipelineCache,
                                                       uint32_t createInfoCount,
                                                       const VkGraphicsPipelineCreateInfo* pCreateInfos,
                                                       const VkAllocationCallbacks* pAllocator,
                                                       VkPipeline* pPipelines) {
  try {
    std::vector<VkGraphicsPipelineCreateInfo> infos(pCreateInfos, pCreateInfos + createInfoCount);
    std::vector<VkPipelineViewportStateCreateInfo> viewports(createInfoCount);
    for (uint32_t i = 0; i < createInfoCount; ++i) {
      ClearViewports(&infos[i], &viewports[i]);
      ClearUnusedAttachments(SessionOf(device), &infos[i]);
    }
    return entry::CreateGraphicsPipelines(device, pipelineCache, createInfoCount, infos.data(), pAllocator, pPipelines);
  } catch (const std::bad_alloc&) {
    for (uint32_t i = 0; i < createInfoCount; ++i) pPipelines[i] = VK_NULL_HANDLE;
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
}

}  // namespace vesper::client::overrides
