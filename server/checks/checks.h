// Comparisons that take more than a row of the policy's check table, which names them (`call`).
#pragma once

#include "generated/wire/all.h"
#include "server/checks/checker.h"

namespace vesper::server::checks {

// --- what must be bound (bound.cpp): commands without it are left out ---------------------------------------------------

void Begins(Checker& c, const wire::BeginCommandBufferArgs& v);
void BindsPipeline(Checker& c, const wire::CmdBindPipelineArgs& v);
inline void NeedsBound(Checker& c, VkCommandBuffer commands, uint32_t bound) {
  const auto* facts = c.Find<CommandBufferFacts>(HandleType::kCommandBuffer, commands);
  if (facts != nullptr && (facts->bound & bound) == 0) c.LeaveOut("no pipeline is bound");
}

template <typename Args>
void BindsShaders(Checker& c, const Args& v) {
  auto* commands = c.Find<CommandBufferFacts>(HandleType::kCommandBuffer, v.commandBuffer);
  if (commands != nullptr) commands->bound |= CommandBufferFacts::kGraphics | CommandBufferFacts::kCompute;
}
template <typename Args>
void Draws(Checker& c, const Args& v) {
  NeedsBound(c, v.commandBuffer, CommandBufferFacts::kGraphics);
}
template <typename Args>
void Dispatches(Checker& c, const Args& v) {
  NeedsBound(c, v.commandBuffer, CommandBufferFacts::kCompute);
}
void Groups(Checker& c, const wire::CmdDispatchArgs& v);
void Groups(Checker& c, const wire::CmdDispatchBaseArgs& v);
template <typename Args>
void TracesRays(Checker& c, const Args& v) {
  NeedsBound(c, v.commandBuffer, CommandBufferFacts::kRayTracing);
}

// --- acceleration structures (acceleration.cpp) -------------------------------------------------------------------------

void Builds(Checker& c, const wire::CmdBuildAccelerationStructuresKHRArgs& v);
void Builds(Checker& c, const wire::CmdBuildAccelerationStructuresIndirectKHRArgs& v);
void Builds(Checker& c, const wire::GetAccelerationStructureBuildSizesKHRArgs& v);

// --- queries, memory, queues, vertex buffers (objects.cpp) --------------------------------------------------------------

inline void Present(Checker& c, const char* name, const void* items, uint32_t count) {
  if (items == nullptr && count != 0) c.Fail(name, "missing");
}
inline void Listed(Checker& c, const wire::FreeCommandBuffersArgs& v) {
  Present(c, "pCommandBuffers", v.pCommandBuffers, v.commandBufferCount);
}
inline void Listed(Checker& c, const wire::FreeDescriptorSetsArgs& v) {
  Present(c, "pDescriptorSets", v.pDescriptorSets, v.descriptorSetCount);
}
inline void Listed(Checker& c, const wire::CmdDrawMultiEXTArgs& v) {
  Present(c, "pVertexInfo", v.pVertexInfo, v.drawCount);
}
inline void Listed(Checker& c, const wire::CmdDrawMultiIndexedEXTArgs& v) {
  Present(c, "pIndexInfo", v.pIndexInfo, v.drawCount);
}
void QueryResults(Checker& c, const wire::GetQueryPoolResultsArgs& v);
void CopiedResults(Checker& c, const wire::CmdCopyQueryPoolResultsArgs& v);
void BoundBuffer(Checker& c, const wire::BindBufferMemoryArgs& v);
void BoundBuffers(Checker& c, const wire::BindBufferMemory2Args& v);
void BoundImage(Checker& c, const wire::BindImageMemoryArgs& v);
void BoundImages(Checker& c, const wire::BindImageMemory2Args& v);
void NewDevice(Checker& c, const wire::CreateDeviceArgs& v);
void QueueOf(Checker& c, const wire::GetDeviceQueueArgs& v);
void QueueOf(Checker& c, const wire::GetDeviceQueue2Args& v);
void VertexBuffers(Checker& c, const wire::CmdBindVertexBuffersArgs& v);
void VertexBuffers(Checker& c, const wire::CmdBindVertexBuffers2Args& v);

// --- descriptors (descriptors.cpp) --------------------------------------------------------------------------------------

void Updates(Checker& c, const wire::UpdateDescriptorSetsArgs& v);
void Pushes(Checker& c, const wire::CmdPushDescriptorSetKHRArgs& v);
void BindsSets(Checker& c, const wire::CmdBindDescriptorSetsArgs& v);

// --- images and what is rendered to (images.cpp) ------------------------------------------------------------------------

void View(Checker& c, const wire::CreateImageViewArgs& v);
void Attachments(Checker& c, const wire::CreateRenderPassArgs& v);
void Attachments(Checker& c, const wire::CreateRenderPass2Args& v);
void Framebuffer(Checker& c, const wire::CreateFramebufferArgs& v);
void RenderArea(Checker& c, const wire::CmdBeginRenderPassArgs& v);
void RenderArea(Checker& c, const wire::CmdBeginRenderPass2Args& v);
void RenderArea(Checker& c, const wire::CmdBeginRenderingArgs& v);
void Regions(Checker& c, const wire::CmdCopyImageArgs& v);
void Regions(Checker& c, const wire::CmdCopyImage2Args& v);
void Regions(Checker& c, const wire::CmdBlitImageArgs& v);
void Regions(Checker& c, const wire::CmdBlitImage2Args& v);
void Regions(Checker& c, const wire::CmdResolveImageArgs& v);
void Regions(Checker& c, const wire::CmdResolveImage2Args& v);
void Regions(Checker& c, const wire::CmdCopyBufferToImageArgs& v);
void Regions(Checker& c, const wire::CmdCopyBufferToImage2Args& v);
void Regions(Checker& c, const wire::CmdCopyImageToBufferArgs& v);
void Regions(Checker& c, const wire::CmdCopyImageToBuffer2Args& v);
void Cleared(Checker& c, const wire::CmdClearColorImageArgs& v);
void Cleared(Checker& c, const wire::CmdClearDepthStencilImageArgs& v);

}  // namespace vesper::server::checks
