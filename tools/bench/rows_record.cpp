// Recording command buffers that are not submitted, and descriptor writes.
#include <barrier>
#include <deque>
#include <thread>

#include "tools/bench/calls.h"
#include "tools/bench/canvas.h"
#include "tools/bench/touch.h"

namespace vesper::tools::bench {
namespace {

constexpr uint64_t kCommands = 10'000;

// One call records a whole command buffer, begin and end included.
template <typename Record>
auto Recorded(const Gpu& gpu, Record record) {
  return [commands = Commands(gpu), record = std::move(record)] {
    commands.Begin();
    record(commands.get());
    commands.End();
  };
}

void RecordDraws(VkCommandBuffer commands, const Canvas& canvas) {
  canvas.Begin(commands);
  canvas.Push(commands, {});
  for (uint64_t i = 0; i < kCommands; ++i) vkCmdDraw(commands, 3, 1, 0, 0);
  canvas.End(commands);
}

auto Draws(const Gpu& gpu) {
  return Recorded(gpu, [canvas = Canvas(gpu, 64, 64)](VkCommandBuffer commands) { RecordDraws(commands, canvas); });
}

auto PushesAndDispatches(const Gpu& gpu) {
  return Recorded(gpu, [touch = std::make_unique<Touch>(gpu, Place::kDevice)](VkCommandBuffer commands) {
    touch->Bind(commands);
    Touch::Pushed pushed = touch->pushed();
    for (uint64_t i = 0; i < kCommands; ++i) {
      pushed.unused[0] = static_cast<uint32_t>(i);
      touch->kernel().Push(commands, pushed);
      vkCmdDispatch(commands, 1, 1, 1);
    }
  });
}

auto SetBindings(const Gpu& gpu) {
  return Recorded(gpu, [touch = std::make_unique<Touch>(gpu, Place::kDevice)](VkCommandBuffer commands) {
    const VkDescriptorSet set = touch->kernel().set();
    for (uint64_t i = 0; i < kCommands; ++i) {
      vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, touch->kernel().layout(), 0, 1, &set, 0,
                              nullptr);
    }
  });
}

auto Barriers(const Gpu& gpu) {
  return Recorded(gpu, [buffer = MakeBuffer(gpu, 4096, Place::kDevice)](VkCommandBuffer commands) {
    VkBufferMemoryBarrier barrier = {VK_STRUCTURE_TYPE_BUFFER_MEMORY_BARRIER};
    barrier.srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT;
    barrier.dstAccessMask = VK_ACCESS_TRANSFER_READ_BIT;
    barrier.srcQueueFamilyIndex = barrier.dstQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED;
    barrier.buffer = buffer.handle;
    barrier.size = VK_WHOLE_SIZE;
    for (uint64_t i = 0; i < kCommands; ++i) {
      vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_TRANSFER_BIT, 0, 0, nullptr, 1,
                           &barrier, 0, nullptr);
    }
  });
}

auto Copies(const Gpu& gpu) {
  return Recorded(gpu, [from = MakeBuffer(gpu, 4096, Place::kDevice),
                        to = MakeBuffer(gpu, 4096, Place::kDevice)](VkCommandBuffer commands) {
    for (uint64_t i = 0; i < kCommands; ++i) CopyAll(commands, from, to);
  });
}

auto SetUpdates(const Gpu& gpu) {
  auto layout = MakeSetLayout(gpu, 1);
  auto pool = MakeDescriptorPool(gpu, 1);
  const VkDescriptorSet set = AllocateSet(gpu, pool, layout);
  return [&gpu, layout = std::move(layout), pool = std::move(pool), set,
          buffer = MakeBuffer(gpu, 4096, Place::kDevice)] { WriteSet(gpu, set, 0, buffer); };
}

// Draws recorded by several threads, each with a pool of its own.
class Threads final : public Work {
 public:
  Threads(const Gpu& gpu, int threads, bool drained)
      : gpu_(gpu), drained_(drained), canvas_(gpu, 64, 64), gate_(threads + 1) {
    for (int i = 0; i < threads; ++i) commands_.emplace_back(gpu);
    for (const Commands& commands : commands_) threads_.emplace_back([this, &commands] { Follow(commands); });
  }
  ~Threads() override {
    ending_ = true;
    gate_.arrive_and_wait();
    for (std::thread& thread : threads_) thread.join();
  }
  void Batch(Stopwatch* watch) override {
    watch->Start();
    gate_.arrive_and_wait();
    gate_.arrive_and_wait();
    if (!drained_) watch->Stop();
    gpu_.Drain();
    if (drained_) watch->Stop();
  }
  void Verify(bool /*last*/) override {
    if (failed_) throw std::runtime_error("a thread could not record");
  }

 private:
  void Follow(const Commands& commands) {
    for (;;) {
      gate_.arrive_and_wait();
      if (ending_) return;
      try {
        commands.Begin();
        RecordDraws(commands.get(), canvas_);
        commands.End();
      } catch (const std::exception&) {
        failed_ = true;
      }
      gate_.arrive_and_wait();
    }
  }

  const Gpu& gpu_;
  const bool drained_;
  const Canvas canvas_;
  std::barrier<> gate_;
  std::atomic<bool> ending_ = false, failed_ = false;
  std::deque<Commands> commands_;
  std::vector<std::thread> threads_;
};

void AddThreads(std::vector<Row>& rows, int threads) {
  for (const bool drained : {false, true}) {
    const auto make = [=](Gpu& gpu) { return std::make_unique<Threads>(gpu, threads, drained); };
    const uint64_t commands = kCommands * static_cast<uint64_t>(threads);
    rows.push_back({"rec.threads_" + std::to_string(threads) + (drained ? "_drained" : ""), Unit::kMillions,
                    static_cast<double>(commands), commands, make});
  }
}

}  // namespace

void AddRecordRows(std::vector<Row>& rows) {
  // Each call records kCommands times `each` commands.
  const auto add = [&rows](const char* name, uint64_t each, auto begin) {
    AddBothWays(rows, name, Unit::kNanoseconds, 1, kCommands * each, begin);
  };
  add("rec.draw", 1, Draws);
  add("rec.push_dispatch_10k", 2, PushesAndDispatches);
  add("rec.bind_sets", 1, SetBindings);
  add("rec.barrier", 1, Barriers);
  add("rec.copy_buffer", 1, Copies);
  AddBothWays(rows, "rec.update_sets", Unit::kNanoseconds, kCommands, 1, SetUpdates);
  AddThreads(rows, 1);
  AddThreads(rows, 2);
}

}  // namespace vesper::tools::bench
