// What the server does for each recorded command beside the driver: a session in this process, on a device whose entry points for
// these commands do nothing. Of `record` the time includes the client's bytes, which are ready before it begins.
#include <benchmark/benchmark.h>

#include <array>
#include <cstdlib>
#include <cstring>

#include "generated/wire/codecs.h"
#include "runtime/wire/record.h"
#include "server/checks/facts.h"
#include "tests/server/test_client.h"

namespace vesper::server {
namespace {

constexpr size_t kBatchBytes = 8192;  // as a client's records leave
int batches = 100;  // of one round; another number with --batches=N, so that instructions can be compared

template <auto member>
void DoNothing(vk::DispatchTable* table) {
  using Function = std::remove_reference_t<decltype(table->*member)>;
  []<typename... A>(vk::DispatchTable* t, void(VKAPI_PTR**)(A...)) { t->*member = [](A...) {}; }(
      table, static_cast<Function*>(nullptr));
}

// A command buffer that is recorded, whose driver does nothing, and which has a pipeline as far as the server knows.
class Recorded {
 public:
  explicit Recorded(Driver* driver) : client(driver), device(&client), commands(device.Begin()) {
    buffer = device.Buffer(4096, device.Allocate(4096), 0);
    const VkDescriptorSetLayout sets = device.SetLayout(0, 1);
    layout = device.PipelineLayout(sets);
    set = device.Set(sets, 1);
    client.AskControl(wire::Control::kHeartbeat, nullptr, 0);
    HandleTable& table = client.session().objects();
    const HandleTable::Lock lock = table.Acquire();
    Object* object = table.Find(lock, TestClient::IdOf(commands));
    static_cast<CommandBufferFacts*>(object->facts)->bound = UINT32_MAX;
    auto& driver_table = static_cast<DispatchContext*>(const_cast<void*>(object->context))->table;
    DoNothing<&vk::DispatchTable::CmdDraw>(&driver_table);
    DoNothing<&vk::DispatchTable::CmdDispatch>(&driver_table);
    DoNothing<&vk::DispatchTable::CmdPipelineBarrier>(&driver_table);
    DoNothing<&vk::DispatchTable::CmdSetViewport>(&driver_table);
    DoNothing<&vk::DispatchTable::CmdBindVertexBuffers>(&driver_table);
    DoNothing<&vk::DispatchTable::CmdCopyBuffer>(&driver_table);
    DoNothing<&vk::DispatchTable::CmdPushConstants>(&driver_table);
    DoNothing<&vk::DispatchTable::CmdBindDescriptorSets>(&driver_table);
    DoNothing<&vk::DispatchTable::UpdateDescriptorSets>(&driver_table);
  }

  // As many of it as fit into a batch; how many.
  int Fill(Command command, const void* args) {
    int count = 0;
    for (; batch.size() < kBatchBytes; ++count) {
      const size_t mark = wire::BeginRecord(&batch, static_cast<uint16_t>(command), 0);
      wire::Encoder encoder(&batch);
      wire::kCodecs[static_cast<size_t>(command)].encode_request(encoder, args);
      wire::EndRecord(&batch, mark);
    }
    return count;
  }
  void Replay() {
    for (int i = 0; i < batches; ++i) client.SendRaw({batch.data(), batch.size()});
    client.AskControl(wire::Control::kHeartbeat, nullptr, 0);
  }

  TestClient client;
  TestDevice device;
  VkCommandBuffer commands;
  VkBuffer buffer;
  VkPipelineLayout layout;
  VkDescriptorSet set;
  wire::ByteBuffer batch;
};

template <typename Args>
void Run(benchmark::State& state, Driver* driver, Command command, Args (*make)(const Recorded&)) {
  Recorded recorded(driver);
  const Args args = make(recorded);
  const int count = recorded.Fill(command, &args) * batches;
  for (auto round : state) {
    static_cast<void>(round);
    recorded.Replay();
  }
  state.counters["ns_per_command"] =
      benchmark::Counter(count * 1e-9, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

wire::CmdDrawArgs Draw(const Recorded& r) { return {r.commands, 3, 1, 0, 0}; }
wire::CmdDispatchArgs Dispatch(const Recorded& r) { return {r.commands, 1, 1, 1}; }
wire::CmdSetViewportArgs Viewport(const Recorded& r) {
  static const VkViewport kViewport{0, 0, 64, 64, 0, 1};
  return {r.commands, 0, 1, &kViewport};
}
wire::CmdBindVertexBuffersArgs VertexBuffers(const Recorded& r) {
  static const VkDeviceSize kOffset = 0;
  return {r.commands, 0, 1, &r.buffer, &kOffset};
}
wire::CmdCopyBufferArgs Copy(const Recorded& r) {
  static const VkBufferCopy kRegion{0, 0, 64};
  return {r.commands, r.buffer, r.buffer, 1, &kRegion};
}
wire::CmdPushConstantsArgs PushConstants(const Recorded& r) {
  static constexpr std::array<float, 8> kValues{1, 2, 3, 4, 5, 6, 7, 8};
  return {r.commands, r.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(kValues), kValues.data()};
}
wire::CmdBindDescriptorSetsArgs BindSets(const Recorded& r) {
  return {r.commands, VK_PIPELINE_BIND_POINT_COMPUTE, r.layout, 0, 1, &r.set, 0, nullptr};
}
wire::CmdPipelineBarrierArgs Barrier(const Recorded& r) {
  static VkBufferMemoryBarrier barrier{};
  barrier.sType = VK_STRUCTURE_TYPE_BUFFER_MEMORY_BARRIER;
  barrier.srcQueueFamilyIndex = barrier.dstQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED;
  barrier.buffer = r.buffer;
  barrier.size = VK_WHOLE_SIZE;
  wire::CmdPipelineBarrierArgs args{};
  args.commandBuffer = r.commands;
  args.srcStageMask = args.dstStageMask = VK_PIPELINE_STAGE_TRANSFER_BIT;
  args.bufferMemoryBarrierCount = 1;
  args.pBufferMemoryBarriers = &barrier;
  return args;
}

wire::UpdateDescriptorSetsArgs UpdateSets(const Recorded& r) {
  static VkDescriptorBufferInfo buffer{};
  buffer = {r.buffer, 0, VK_WHOLE_SIZE};
  static VkWriteDescriptorSet write{};
  write.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET;
  write.dstSet = r.set;
  write.descriptorCount = 1;
  write.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
  write.pBufferInfo = &buffer;
  wire::UpdateDescriptorSetsArgs args{};
  args.device = r.device.device;
  args.descriptorWriteCount = 1;
  args.pDescriptorWrites = &write;
  return args;
}

}  // namespace
}  // namespace vesper::server

int main(int argc, char** argv) {
  using namespace vesper::server;
  using vesper::Command;
  PrepareDriverEnvironment();
  std::string error;
  const std::unique_ptr<Driver> driver = Driver::Load({.validation = false, .gpu = ""}, &error);
  if (driver == nullptr) return 77;
  const auto add = [&driver](const char* name, Command command, auto make) {
    benchmark::RegisterBenchmark(
        name, [&driver, command, make](benchmark::State& state) { Run(state, driver.get(), command, make); })
        ->UseRealTime()
        ->Unit(benchmark::kMicrosecond);
  };
  add("replay/draw", Command::kCmdDraw, Draw);
  add("replay/dispatch", Command::kCmdDispatch, Dispatch);
  add("replay/set_viewport", Command::kCmdSetViewport, Viewport);
  add("replay/bind_vertex_buffers", Command::kCmdBindVertexBuffers, VertexBuffers);
  add("replay/copy_buffer", Command::kCmdCopyBuffer, Copy);
  add("replay/push_constants", Command::kCmdPushConstants, PushConstants);
  add("replay/bind_sets", Command::kCmdBindDescriptorSets, BindSets);
  add("replay/barrier", Command::kCmdPipelineBarrier, Barrier);
  add("replay/update_sets", Command::kUpdateDescriptorSets, UpdateSets);
  if (argc > 1 && std::strncmp(argv[argc - 1], "--batches=", 10) == 0) batches = std::atoi(argv[argc - 1] + 10);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
