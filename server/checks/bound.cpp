// Draws, dispatches and traces without a pipeline, which drivers take for granted.
#include "server/checks/checks.h"

namespace vesper::server::checks {
namespace {

CommandBufferFacts* FactsOf(Checker& c, VkCommandBuffer commands) {
  return c.Find<CommandBufferFacts>(HandleType::kCommandBuffer, commands);
}

uint32_t BoundBy(VkPipelineBindPoint point) {
  switch (point) {
    case VK_PIPELINE_BIND_POINT_GRAPHICS:
      return CommandBufferFacts::kGraphics;
    case VK_PIPELINE_BIND_POINT_COMPUTE:
      return CommandBufferFacts::kCompute;
    default:
      return CommandBufferFacts::kRayTracing;
  }
}

}  // namespace

void Begins(Checker& c, const wire::BeginCommandBufferArgs& v) {
  if (auto* commands = FactsOf(c, v.commandBuffer)) commands->bound = 0;
}

void BindsPipeline(Checker& c, const wire::CmdBindPipelineArgs& v) {
  if (v.pipeline == VK_NULL_HANDLE) return c.Fail("pipeline", "null");
  if (auto* commands = FactsOf(c, v.commandBuffer)) commands->bound |= BoundBy(v.pipelineBindPoint);
}

}  // namespace vesper::server::checks
