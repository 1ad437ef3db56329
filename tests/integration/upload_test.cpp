// Small uploads whose fence is answered at once (client/objects/uploads.h), on a device with memory that the host does not see
// (tests/support/device_memory_layer.cpp). What they may not change is what any program sees but the time.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>
#include <span>
#include <vector>

#include "tests/support/statistics_file.h"
#include "tests/support/vulkan_context.h"
#include "tests/support/vulkan_resources.h"

namespace vesper::test {
namespace {

constexpr VkBufferUsageFlags kBoth = VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT;
constexpr VkDeviceSize kBytes = VkDeviceSize{1} << 20;

StatisticsFile& File() {
  static StatisticsFile file;
  return file;
}

// Of everything that `body` does in an instance of its own.
uint64_t CountedOf(const char* name, const std::function<void(Context&)>& body) {
  const StatisticsFile& file = File();
  { Context first; }  // so that the file exists
  const uint64_t before = file.Total(name);
  {
    Context context;
    body(context);
  }
  return file.Total(name) - before;
}

// A buffer that the host sees, one that it does not, and what copies between them.
class Uploader {
 public:
  explicit Uploader(Context& gpu)
      : gpu_(gpu),
        staging_(MakeBuffer(gpu, kBytes, kBoth, Placement::kHost)),
        local_(MakeLocal(gpu)),
        pool_(MakeCommandPool(gpu)),
        commands_(AllocateCommands(gpu, pool_)),
        fence_(MakeFence(gpu)) {}

  std::span<uint32_t> words() const { return staging_.As<uint32_t>(); }
  VkBuffer local() const { return local_.handle; }
  VkFence fence() const { return fence_; }
  VkCommandBuffer commands() const { return commands_; }

  void Record(std::span<const VkBufferCopy> regions) {
    vkResetFences(gpu_.device(), 1, fence_.address());
    BeginCommands(commands_);
    FullBarrier(commands_);
    vkCmdCopyBuffer(commands_, staging_.handle, local_.handle, static_cast<uint32_t>(regions.size()), regions.data());
    ASSERT_EQ(vkEndCommandBuffer(commands_), VK_SUCCESS);
  }
  void Upload(std::span<const VkBufferCopy> regions) {
    Record(regions);
    Submit(gpu_, commands_, fence_);
    WaitFor(gpu_, fence_);
  }
  std::vector<uint32_t> Download() {
    const Buffer back = MakeBuffer(gpu_, kBytes, kBoth, Placement::kHost);
    RunCommands(gpu_, [&](VkCommandBuffer commands) {
      const VkBufferCopy whole = {0, 0, kBytes};
      vkCmdCopyBuffer(commands, local_.handle, back.handle, 1, &whole);
      FullBarrier(commands);
    });
    const auto words = back.As<uint32_t>();
    return {words.begin(), words.end()};
  }

 private:
  static Buffer MakeLocal(Context& gpu) {
    Buffer local = MakeBuffer(gpu, kBytes, kBoth, Placement::kDevice);
    RunCommands(gpu, [&](VkCommandBuffer commands) {
      vkCmdFillBuffer(commands, local.handle, 0, VK_WHOLE_SIZE, 0);
      FullBarrier(commands);
    });
    return local;
  }

  Context& gpu_;
  const Buffer staging_;
  const Buffer local_;
  const Owned<VkCommandPool> pool_;
  const VkCommandBuffer commands_;
  const Owned<VkFence> fence_;
};

TEST(UploadTest, NobodyWaitsForThem) {
  constexpr int kTimes = 100;
  const auto upload = [](Context& gpu, int times) {
    Uploader uploader(gpu);
    for (int i = 0; i < times; ++i) {
      const VkBufferCopy region = {0, 256, 4096};
      uploader.Upload({&region, 1});
    }
  };
  const uint64_t none = CountedOf("waits", [&](Context& gpu) { upload(gpu, 0); });
  // One, before what they wrote is destroyed.
  EXPECT_LE(CountedOf("waits", [&](Context& gpu) { upload(gpu, kTimes); }), none + 1);
  EXPECT_EQ(CountedOf("uploads", [&](Context& gpu) { upload(gpu, kTimes); }), uint64_t{kTimes});
}

TEST(UploadTest, WhatIsLargeOrOddWaits) {
  EXPECT_EQ(
      CountedOf(
          "uploads",
          [](Context& gpu) {
            Uploader uploader(gpu);
            for (const VkBufferCopy region : {VkBufferCopy{0, 0, kBytes}, VkBufferCopy{0, 1, 8}, VkBufferCopy{0, 0, 6}})
              uploader.Upload({&region, 1});
          }),
      0u);
}

// Regions at random, some on the same place, and everything that may come between: the sources are written anew as soon as the
// fence allows it.
TEST(UploadTest, TheDeviceHasWhatWasThereAtTheSubmit) {
  Context gpu;
  Uploader uploader(gpu);
  std::mt19937 random(20261128);
  const auto pick = [&](uint32_t below) { return static_cast<uint32_t>(random() % below); };
  std::vector<uint32_t> expected(kBytes / 4, 0);
  for (int round = 0; round < 400; ++round) {
    const uint32_t words = 1 + pick(round % 10 == 0 ? 40'000 : 600);
    const auto limit = static_cast<uint32_t>(kBytes / 4) - words;
    const uint32_t from = pick(limit);
    const uint32_t to = pick(4) == 0 ? pick(64) : pick(limit);
    for (uint32_t i = 0; i < words; ++i) uploader.words()[from + i] = static_cast<uint32_t>(random());
    std::copy_n(uploader.words().begin() + from, words, expected.begin() + to);
    const VkBufferCopy region = {from * 4, to * 4, words * 4};
    uploader.Upload({&region, 1});
    std::fill_n(uploader.words().begin() + from, words, 0xdeadbeef);
    if (pick(10) == 0) {  // the device writes as well
      const uint32_t at = pick(1000) * 4;
      RunCommands(gpu, [&](VkCommandBuffer commands) {
        vkCmdFillBuffer(commands, uploader.local(), at, 64, static_cast<uint32_t>(round));
        FullBarrier(commands);
      });
      std::fill_n(expected.begin() + at / 4, 16, static_cast<uint32_t>(round));
    }
    if (pick(40) == 0) {
      EXPECT_EQ(uploader.Download(), expected) << "after round " << round;
    }
  }
  EXPECT_EQ(uploader.Download(), expected);
}

// The same command buffer again, with other bytes.
TEST(UploadTest, ACommandBufferIsSubmittedAgain) {
  Context gpu;
  Uploader uploader(gpu);
  const VkBufferCopy region = {0, 64, 32};
  uploader.Record({&region, 1});
  std::vector<uint32_t> expected(kBytes / 4, 0);
  for (uint32_t i = 1; i < 20; ++i) {
    std::fill_n(uploader.words().begin(), 8, i);
    const VkFence fence = uploader.fence();
    vkResetFences(gpu.device(), 1, &fence);
    Submit(gpu, uploader.commands(), uploader.fence());
    WaitFor(gpu, uploader.fence());
    if (i % 5 != 0) continue;
    std::fill_n(expected.begin() + 16, 8, i);
    EXPECT_EQ(uploader.Download(), expected);
  }
}

// A fence says that what was submitted before has ended, too.
TEST(UploadTest, WorkUnderWayIsWaitedFor) {
  Context gpu;
  Uploader uploader(gpu);
  const Owned<VkSemaphore> gate = MakeTimeline(gpu);
  const uint64_t value = 1;
  VkTimelineSemaphoreSubmitInfo values = {VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO};
  values.waitSemaphoreValueCount = 1;
  values.pWaitSemaphoreValues = &value;
  const VkPipelineStageFlags stage = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
  VkSubmitInfo waiting = {VK_STRUCTURE_TYPE_SUBMIT_INFO};
  waiting.pNext = &values;
  waiting.waitSemaphoreCount = 1;
  waiting.pWaitSemaphores = gate.address();
  waiting.pWaitDstStageMask = &stage;
  ASSERT_EQ(vkQueueSubmit(gpu.queue(), 1, &waiting, VK_NULL_HANDLE), VK_SUCCESS);
  const VkBufferCopy region = {0, 0, 64};
  uploader.Record({&region, 1});
  Submit(gpu, uploader.commands(), uploader.fence());
  EXPECT_EQ(vkGetFenceStatus(gpu.device(), uploader.fence()), VK_NOT_READY);
  VkSemaphoreSignalInfo signal = {VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO};
  signal.semaphore = gate;
  signal.value = value;
  ASSERT_EQ(vkSignalSemaphore(gpu.device(), &signal), VK_SUCCESS);
  WaitFor(gpu, uploader.fence());
}

// The program may destroy what was written as soon as the fence allows it; what takes its place is not written to.
TEST(UploadTest, WhatWasWrittenMayGoAtOnce) {
  EXPECT_EQ(CountedOf("uploads",
                      [](Context& gpu) {
                        for (uint32_t i = 0; i < 50; ++i) {
                          const VkBufferCopy region = {0, 0, 4000};
                          {
                            Uploader uploader(gpu);
                            std::fill_n(uploader.words().begin(), 1000, i);
                            uploader.Upload({&region, 1});
                          }
                          Uploader next(gpu);
                          std::fill_n(next.words().begin(), 1000, ~i);
                          next.Upload({&region, 1});
                          const auto found = next.Download();
                          EXPECT_TRUE(std::all_of(found.begin(), found.begin() + 1000,
                                                  [&](uint32_t word) { return word == ~i; }));
                        }
                      }),
            100u);
}

// An upload without a fence, and a fence alone behind it.
TEST(UploadTest, AFenceBehindAnUploadIsAnswered) {
  EXPECT_EQ(CountedOf("uploads",
                      [](Context& gpu) {
                        Uploader uploader(gpu);
                        uploader.words()[0] = 5;
                        const VkBufferCopy region = {0, 0, 4};
                        uploader.Record({&region, 1});
                        Submit(gpu, uploader.commands(), VK_NULL_HANDLE);
                        ASSERT_EQ(vkQueueSubmit(gpu.queue(), 0, nullptr, uploader.fence()), VK_SUCCESS);
                        EXPECT_EQ(vkGetFenceStatus(gpu.device(), uploader.fence()), VK_SUCCESS);
                        uploader.words()[0] = 6;
                        EXPECT_EQ(uploader.Download()[0], 5u);
                      }),
            2u);
}

}  // namespace
}  // namespace vesper::test
