// Draws, dispatches and traces without a pipeline, which drivers take for granted, and of how many groups they are.
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

// `base` groups are left out ahead of them. Only an invalid program has more, but drivers of its own machine let it live: the command
// is left out, with a line in the server's log.
void Within(Checker& c, int axis, uint64_t base, uint64_t count) {
  if (c.own_device() == nullptr) return;
  const uint64_t limit = c.limits().maxComputeWorkGroupCount[axis];
  if (base > limit || count > limit - base) c.LeaveOut("it has more work groups than the device may have");
}

}  // namespace

void Groups(Checker& c, const wire::CmdDispatchArgs& v) {
  Within(c, 0, 0, v.groupCountX);
  Within(c, 1, 0, v.groupCountY);
  Within(c, 2, 0, v.groupCountZ);
}

void Groups(Checker& c, const wire::CmdDispatchBaseArgs& v) {
  Within(c, 0, v.baseGroupX, v.groupCountX);
  Within(c, 1, v.baseGroupY, v.groupCountY);
  Within(c, 2, v.baseGroupZ, v.groupCountZ);
}

void Begins(Checker& c, const wire::BeginCommandBufferArgs& v) {
  if (auto* commands = FactsOf(c, v.commandBuffer)) commands->bound = 0;
}

void BindsPipeline(Checker& c, const wire::CmdBindPipelineArgs& v) {
  if (v.pipeline == VK_NULL_HANDLE) return c.Fail("pipeline", "null");
  if (auto* commands = FactsOf(c, v.commandBuffer)) commands->bound |= BoundBy(v.pipelineBindPoint);
}

}  // namespace vesper::server::checks
