// Query pools: occlusion, timestamps, pipeline statistics; results in every layout that
// vkGetQueryPoolResults offers.
#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "shaders/colour_frag.h"
#include "shaders/triangle_vert.h"
#include "tests/integration/gpu_test.h"

namespace vesper::test {
namespace {

constexpr uint32_t kSize = 64;

class QueryTest : public GpuTest {
 protected:
  Owned<VkQueryPool> MakePool(VkQueryType type, uint32_t count, VkQueryPipelineStatisticFlags statistics = 0) {
    VkQueryPoolCreateInfo info = {VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO};
    info.queryType = type;
    info.queryCount = count;
    info.pipelineStatistics = statistics;
    return Create<VkQueryPool>(device(), vkCreateQueryPool, vkDestroyQueryPool, info);
  }

  // Draws `draw` between begin and end of dynamic rendering into a small picture.
  void Render(const std::function<void(VkCommandBuffer)>& before,
              const std::function<void(VkCommandBuffer, VkPipelineLayout)>& draw,
              const std::function<void(VkCommandBuffer)>& after = nullptr) {
    const Image image = MakeImage(gpu(), VK_FORMAT_R8G8B8A8_UNORM, kSize, kSize, VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT);
    const VkPushConstantRange range = {VK_SHADER_STAGE_VERTEX_BIT, 0, 16};
    const auto layout = MakePipelineLayout(gpu(), {}, {&range, 1});
    GraphicsState state;
    VkPipelineRenderingCreateInfo rendering = {VK_STRUCTURE_TYPE_PIPELINE_RENDERING_CREATE_INFO};
    rendering.colorAttachmentCount = 1;
    rendering.pColorAttachmentFormats = &image.format;
    state.info.pNext = &rendering;
    state.info.layout = layout;
    const auto pipeline = state.Build(gpu(), triangle_vert, colour_frag);
    RunCommands(gpu(), [&](VkCommandBuffer commands) {
      before(commands);
      ChangeLayout(commands, image, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL);
      VkRenderingAttachmentInfo attachment = {VK_STRUCTURE_TYPE_RENDERING_ATTACHMENT_INFO};
      attachment.imageView = image.view;
      attachment.imageLayout = VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL;
      attachment.loadOp = VK_ATTACHMENT_LOAD_OP_CLEAR;
      VkRenderingInfo info = {VK_STRUCTURE_TYPE_RENDERING_INFO};
      info.renderArea.extent = {kSize, kSize};
      info.layerCount = 1;
      info.colorAttachmentCount = 1;
      info.pColorAttachments = &attachment;
      vkCmdBeginRendering(commands, &info);
      vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
      SetViewport(commands, kSize, kSize);
      draw(commands, layout);
      vkCmdEndRendering(commands);
      if (after) after(commands);
    });
  }
  static void Draw(VkCommandBuffer commands, VkPipelineLayout layout, float scale) {
    const float push[] = {0.0f, 0.0f, scale, 0.5f};
    vkCmdPushConstants(commands, layout, VK_SHADER_STAGE_VERTEX_BIT, 0, sizeof push, push);
    vkCmdDraw(commands, 3, 1, 0, 0);
  }
};

// Query 0 sees nothing, 1 a triangle over everything, 2 is never begun.
class OcclusionTest : public QueryTest {
 protected:
  void RenderInto(VkQueryPool pool, const std::function<void(VkCommandBuffer)>& after = nullptr) {
    Render([&](VkCommandBuffer commands) { vkCmdResetQueryPool(commands, pool, 0, 3); },
           [&](VkCommandBuffer commands, VkPipelineLayout layout) {
             vkCmdBeginQuery(commands, pool, 0, VK_QUERY_CONTROL_PRECISE_BIT);
             Draw(commands, layout, 0.0f);
             vkCmdEndQuery(commands, pool, 0);
             vkCmdBeginQuery(commands, pool, 1, VK_QUERY_CONTROL_PRECISE_BIT);
             Draw(commands, layout, 8.0f);
             vkCmdEndQuery(commands, pool, 1);
           },
           after);
  }
};

TEST_F(OcclusionTest, ResultsIn32And64Bits) {
  const auto pool = MakePool(VK_QUERY_TYPE_OCCLUSION, 3);
  RenderInto(pool);
  uint32_t narrow[2] = {};
  VK_CHECK(vkGetQueryPoolResults(device(), pool, 0, 2, sizeof narrow, narrow, 4, VK_QUERY_RESULT_WAIT_BIT));
  EXPECT_EQ(narrow[0], 0u);
  EXPECT_EQ(narrow[1], kSize * kSize);
  uint64_t wide[4] = {};
  VK_CHECK(
      vkGetQueryPoolResults(device(), pool, 0, 2, sizeof wide, wide, 16,
                            VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WITH_AVAILABILITY_BIT | VK_QUERY_RESULT_WAIT_BIT));
  EXPECT_EQ(wide[0], 0u);
  EXPECT_NE(wide[1], 0u);
  EXPECT_EQ(wide[2], uint64_t{kSize} * kSize);
  EXPECT_NE(wide[3], 0u);
}

// Results are scattered by the stride and nothing between them is touched.
TEST_F(OcclusionTest, StrideLeavesGapsAlone) {
  const auto pool = MakePool(VK_QUERY_TYPE_OCCLUSION, 3);
  RenderInto(pool);
  std::vector<uint32_t> words(32, 0xeeeeeeee);
  VK_CHECK(vkGetQueryPoolResults(device(), pool, 0, 2, 32 * 4, words.data(), 40, VK_QUERY_RESULT_WAIT_BIT));
  std::vector<uint32_t> expected(32, 0xeeeeeeee);
  expected[0] = 0;
  expected[10] = kSize * kSize;
  EXPECT_EQ(words, expected);
}

TEST_F(OcclusionTest, NotReadyLeavesMemoryUntouched) {
  const auto pool = MakePool(VK_QUERY_TYPE_OCCLUSION, 3);
  RenderInto(pool);
  std::vector<uint32_t> words(3, 0xeeeeeeee);
  EXPECT_EQ(vkGetQueryPoolResults(device(), pool, 0, 3, 12, words.data(), 4, 0), VK_NOT_READY);
  EXPECT_EQ(words[0], 0u);
  EXPECT_EQ(words[1], kSize * kSize);
  EXPECT_EQ(words[2], 0xeeeeeeeeu);  // unavailable
  // With availability the call says which.
  std::vector<uint64_t> pairs(6, 0xeeee);
  const VkResult result = vkGetQueryPoolResults(device(), pool, 0, 3, 48, pairs.data(), 16,
                                                VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WITH_AVAILABILITY_BIT);
  EXPECT_EQ(result, VK_NOT_READY);
  EXPECT_NE(pairs[1], 0u);
  EXPECT_EQ(pairs[2], uint64_t{kSize} * kSize);
  EXPECT_NE(pairs[3], 0u);
  EXPECT_EQ(pairs[5], 0u);
}

TEST_F(OcclusionTest, CopiedByTheGpu) {
  const auto pool = MakePool(VK_QUERY_TYPE_OCCLUSION, 3);
  const Buffer buffer = MakeBuffer(gpu(), 64, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
  std::ranges::fill(buffer.As<uint32_t>(), 0u);
  RenderInto(pool, [&](VkCommandBuffer commands) {
    vkCmdCopyQueryPoolResults(commands, pool, 0, 2, buffer.handle, 8, 16,
                              VK_QUERY_RESULT_WAIT_BIT | VK_QUERY_RESULT_64_BIT);
  });
  EXPECT_EQ(buffer.As<uint64_t>()[1], 0u);
  EXPECT_EQ(buffer.As<uint64_t>()[3], uint64_t{kSize} * kSize);
}

TEST_F(OcclusionTest, HostResetAndReuse) {
  if (gpu().features().v12.hostQueryReset == VK_FALSE) GTEST_SKIP() << "not offered";
  const auto pool = MakePool(VK_QUERY_TYPE_OCCLUSION, 3);
  for (int round = 0; round < 3; ++round) {
    RenderInto(pool);
    uint32_t result = 0;
    VK_CHECK(vkGetQueryPoolResults(device(), pool, 1, 1, 4, &result, 4, VK_QUERY_RESULT_WAIT_BIT));
    EXPECT_EQ(result, kSize * kSize);
    vkResetQueryPool(device(), pool, 0, 3);
    result = 0xeeeeeeee;
    EXPECT_EQ(vkGetQueryPoolResults(device(), pool, 1, 1, 4, &result, 4, 0), VK_NOT_READY);
    EXPECT_EQ(result, 0xeeeeeeeeu);
  }
}

TEST_F(QueryTest, TimestampsGrow) {
  if (gpu().queue_family_properties().timestampValidBits == 0) GTEST_SKIP() << "no timestamps";
  const auto pool = MakePool(VK_QUERY_TYPE_TIMESTAMP, 2);
  const Buffer buffer = MakeBuffer(gpu(), 1 << 20, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kDevice);
  RunCommands(gpu(), [&](VkCommandBuffer commands) {
    vkCmdResetQueryPool(commands, pool, 0, 2);
    vkCmdWriteTimestamp(commands, VK_PIPELINE_STAGE_TOP_OF_PIPE_BIT, pool, 0);
    vkCmdFillBuffer(commands, buffer.handle, 0, VK_WHOLE_SIZE, 1);
    FullBarrier(commands);
    vkCmdWriteTimestamp2(commands, VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT, pool, 1);
  });
  uint64_t times[2] = {};
  VK_CHECK(vkGetQueryPoolResults(device(), pool, 0, 2, sizeof times, times, 8,
                                 VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT));
  EXPECT_NE(times[0], 0u);
  EXPECT_GE(times[1], times[0]);
}

// Threads that wait for results hold up nobody, least of all the one that lets the work go on.
TEST_F(QueryTest, WhoWaitsForResultsHoldsUpNobody) {
  constexpr uint32_t kReaders = 12;
  if (gpu().queue_family_properties().timestampValidBits == 0) GTEST_SKIP() << "no timestamps";
  const auto pool = MakePool(VK_QUERY_TYPE_TIMESTAMP, kReaders);
  vkResetQueryPool(device(), pool, 0, kReaders);
  const auto gate = MakeTimeline(gpu());
  const auto commands_pool = MakeCommandPool(gpu());
  const VkCommandBuffer commands = AllocateCommands(gpu(), commands_pool);
  BeginCommands(commands);
  for (uint32_t i = 0; i < kReaders; ++i) {
    vkCmdWriteTimestamp(commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, pool, i);
  }
  VK_CHECK(vkEndCommandBuffer(commands));
  const uint64_t opened = 1;
  const VkPipelineStageFlags stage = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
  const VkTimelineSemaphoreSubmitInfo values = {VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO, nullptr, 1, &opened};
  const VkSubmitInfo submit = {VK_STRUCTURE_TYPE_SUBMIT_INFO, &values, 1, gate.address(), &stage, 1, &commands};
  VK_CHECK(vkQueueSubmit(gpu().queue(), 1, &submit, VK_NULL_HANDLE));
  std::atomic<uint32_t> read{0};
  std::vector<std::thread> readers;
  for (uint32_t i = 0; i < kReaders; ++i) {
    readers.emplace_back([&, i] {
      uint64_t result = 0;
      VK_CHECK(vkGetQueryPoolResults(device(), pool, i, 1, sizeof result, &result, sizeof result,
                                     VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT));
      EXPECT_NE(result, 0u);
      ++read;
    });
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(200));  // for them to wait
  const VkPipelineCacheCreateInfo info = {VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
  const auto cache = Create<VkPipelineCache>(device(), vkCreatePipelineCache, vkDestroyPipelineCache, info);
  EXPECT_EQ(read, 0u);
  const VkSemaphoreSignalInfo signal = {VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO, nullptr, gate, opened};
  VK_CHECK(vkSignalSemaphore(device(), &signal));
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(read, kReaders);
  VK_CHECK(vkDeviceWaitIdle(device()));
}

TEST_F(QueryTest, PipelineStatistics) {
  if (gpu().features().core.features.pipelineStatisticsQuery == VK_FALSE) {
    GTEST_SKIP() << "not offered";
  }
  const auto pool = MakePool(VK_QUERY_TYPE_PIPELINE_STATISTICS, 1,
                             VK_QUERY_PIPELINE_STATISTIC_INPUT_ASSEMBLY_VERTICES_BIT |
                                 VK_QUERY_PIPELINE_STATISTIC_INPUT_ASSEMBLY_PRIMITIVES_BIT |
                                 VK_QUERY_PIPELINE_STATISTIC_CLIPPING_INVOCATIONS_BIT);
  Render(
      [&](VkCommandBuffer commands) {
        vkCmdResetQueryPool(commands, pool, 0, 1);
        vkCmdBeginQuery(commands, pool, 0, 0);
      },
      [&](VkCommandBuffer commands, VkPipelineLayout layout) {
        for (int i = 0; i < 5; ++i) Draw(commands, layout, 0.5f);
      },
      [&](VkCommandBuffer commands) { vkCmdEndQuery(commands, pool, 0); });
  uint64_t results[4] = {};
  VK_CHECK(
      vkGetQueryPoolResults(device(), pool, 0, 1, sizeof results, results, sizeof results,
                            VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WITH_AVAILABILITY_BIT | VK_QUERY_RESULT_WAIT_BIT));
  EXPECT_EQ(results[0], 15u);
  EXPECT_EQ(results[1], 5u);
  EXPECT_EQ(results[2], 5u);
  EXPECT_NE(results[3], 0u);
}

// The host's time domains are the clock of this machine, wherever the GPU is, and the deviation says
// how far apart the clocks were read.
TEST_F(QueryTest, CalibratedTimestampsUseThisMachinesClock) {
  if (!HasDeviceExtension(gpu().physical_device(), VK_EXT_CALIBRATED_TIMESTAMPS_EXTENSION_NAME)) {
    GTEST_SKIP() << "no calibrated timestamps";
  }
  ContextOptions options;
  options.device_extensions = {VK_EXT_CALIBRATED_TIMESTAMPS_EXTENSION_NAME};
  const Context calibrated(options);
  const auto get = calibrated.DeviceFunction<PFN_vkGetCalibratedTimestampsEXT>("vkGetCalibratedTimestampsEXT");
  VkCalibratedTimestampInfoEXT infos[2] = {{VK_STRUCTURE_TYPE_CALIBRATED_TIMESTAMP_INFO_EXT},
                                           {VK_STRUCTURE_TYPE_CALIBRATED_TIMESTAMP_INFO_EXT}};
  infos[0].timeDomain = VK_TIME_DOMAIN_DEVICE_EXT;
  infos[1].timeDomain = VK_TIME_DOMAIN_CLOCK_MONOTONIC_EXT;
  const auto now = [] {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(time.tv_nsec);
  };
  const uint64_t before = now();
  uint64_t stamps[2] = {};
  uint64_t deviation = 0;
  VK_CHECK(get(calibrated.device(), 2, infos, stamps, &deviation));
  const uint64_t after = now();
  EXPECT_NE(stamps[0], 0u);
  EXPECT_GE(stamps[1], before);
  EXPECT_LE(stamps[1], after);
  EXPECT_GT(deviation, 0u);
}

}  // namespace
}  // namespace vesper::test
