// Graphics pipelines: a valid program may leave pointers dangling that the subpass it renders in makes the driver ignore. They
// are cleared in a copy before the mechanical entry point reads it; what the create-info itself says is ignored is policy.
#include <memory>
#include <new>
#include <vector>

#include "client/objects/object.h"
#include "client/overrides/guard.h"
#include "client/overrides/render_pass.h"
#include "client/session/session.h"
#include "generated/client/entry_points.h"
#include "generated/client/overrides.h"
#include "runtime/vk/conditions.h"

namespace vesper::client::overrides {
namespace {

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
    for (auto& info : infos) ClearUnusedAttachments(SessionOf(device), &info);
    return entry::CreateGraphicsPipelines(device, pipelineCache, createInfoCount, infos.data(), pAllocator, pPipelines);
  } catch (const std::bad_alloc&) {
    for (uint32_t i = 0; i < createInfoCount; ++i) pPipelines[i] = VK_NULL_HANDLE;
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
}

// Noted in the command buffer while it is not known whether the pipeline could be made: see EndCommandBuffer.
VKAPI_ATTR void VKAPI_CALL CmdBindPipeline(VkCommandBuffer commandBuffer, VkPipelineBindPoint pipelineBindPoint,
                                           VkPipeline pipeline) {
  CommandBuffer* buffer = FromHandle<CommandBuffer>(commandBuffer);
  if (!buffer->session->verdicts().AllWell()) {
    Guarded([&] {
      buffer->unproven.push_back(IdOf(pipeline));
      return VK_SUCCESS;
    });
  }
  entry::CmdBindPipeline(commandBuffer, pipelineBindPoint, pipeline);
}

}  // namespace vesper::client::overrides
