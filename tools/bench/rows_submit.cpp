// Submits and the wait for them.
#include "tools/bench/rows.h"
#include "tools/bench/touch.h"

namespace vesper::tools::bench {
namespace {

constexpr uint64_t kMany = 1000;

class EmptySubmit final : public Work {
 public:
  explicit EmptySubmit(const Gpu& gpu) : gpu_(gpu) {}
  void Batch(Stopwatch* watch) override {
    watch->Start();
    gpu_.Drain();
    watch->Stop();
  }

 private:
  const Gpu& gpu_;
};

// `submits` of a tiny dispatch each, and the wait for the last.
class Dispatches final : public Work {
 public:
  Dispatches(const Gpu& gpu, uint64_t submits)
      : gpu_(gpu), submits_(submits), touch_(gpu, Place::kDevice), fence_(MakeFence(gpu)) {}
  void Batch(Stopwatch* watch) override {
    watch->Start();
    const VkCommandBuffer commands = touch_.commands();
    VkSubmitInfo submit = {VK_STRUCTURE_TYPE_SUBMIT_INFO};
    submit.commandBufferCount = 1;
    submit.pCommandBuffers = &commands;
    for (uint64_t i = 1; i < submits_; ++i) {
      VESPER_BENCH_CHECK(vkQueueSubmit(gpu_.queue(), 1, &submit, VK_NULL_HANDLE));
    }
    VESPER_BENCH_CHECK(vkQueueSubmit(gpu_.queue(), 1, &submit, fence_));
    VESPER_BENCH_CHECK(vkWaitForFences(gpu_.device(), 1, fence_.address(), VK_TRUE, kWaitNanoseconds));
    VESPER_BENCH_CHECK(vkResetFences(gpu_.device(), 1, fence_.address()));
    watch->Stop();
    done_ += submits_;
  }
  void Verify(bool last) override {
    if (last) touch_.Verify(done_);
  }

 private:
  const Gpu& gpu_;
  const uint64_t submits_;
  const Touch touch_;
  const Owned<VkFence> fence_;
  uint64_t done_ = 0;
};

class TimelineSubmit final : public Work {
 public:
  explicit TimelineSubmit(const Gpu& gpu) : gpu_(gpu), timeline_(MakeTimeline(gpu)) {}
  void Batch(Stopwatch* watch) override {
    watch->Start();
    ++value_;
    VkTimelineSemaphoreSubmitInfo values = {VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO};
    values.signalSemaphoreValueCount = 1;
    values.pSignalSemaphoreValues = &value_;
    VkSubmitInfo submit = {VK_STRUCTURE_TYPE_SUBMIT_INFO};
    submit.pNext = &values;
    submit.signalSemaphoreCount = 1;
    submit.pSignalSemaphores = timeline_.address();
    VESPER_BENCH_CHECK(vkQueueSubmit(gpu_.queue(), 1, &submit, VK_NULL_HANDLE));
    VkSemaphoreWaitInfo wait = {VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO};
    wait.semaphoreCount = 1;
    wait.pSemaphores = timeline_.address();
    wait.pValues = &value_;
    VESPER_BENCH_CHECK(vkWaitSemaphores(gpu_.device(), &wait, kWaitNanoseconds));
    watch->Stop();
  }

 private:
  const Gpu& gpu_;
  const Owned<VkSemaphore> timeline_;
  uint64_t value_ = 0;
};

}  // namespace

void AddSubmitRows(std::vector<Row>& rows) {
  constexpr Unit kUnit = Unit::kMicroseconds;
  rows.push_back({"submit.empty", kUnit, 1, 1, [](Gpu& gpu) { return std::make_unique<EmptySubmit>(gpu); }});
  rows.push_back({"submit.dispatch", kUnit, 1, 1, [](Gpu& gpu) { return std::make_unique<Dispatches>(gpu, 1); }});
  rows.push_back({"submit.timeline", kUnit, 1, 1, [](Gpu& gpu) { return std::make_unique<TimelineSubmit>(gpu); }});
  rows.push_back({"submit.pipelined_1000", kUnit, static_cast<double>(kMany), kMany,
                  [](Gpu& gpu) { return std::make_unique<Dispatches>(gpu, kMany); }});
}

}  // namespace vesper::tools::bench
