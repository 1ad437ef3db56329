// Protects: what command buffers read while they are recorded is not destroyed ahead of their records, and creations that
// nobody waited for and that failed are told by the first call that can tell it.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "generated/wire/command.h"
#include "generated/wire/descriptor.h"
#include "generated/wire/pipeline.h"
#include "tests/client/fixture.h"

namespace vesper::client {
namespace {

struct Order {
  std::mutex mutex;
  std::vector<Command> commands;
};

class RecordingTest : public ClientFixture {
 protected:
  RecordingTest() : RecordingTest(std::make_shared<Order>()) {}
  explicit RecordingTest(const std::shared_ptr<Order>& order)
      : ClientFixture([order, answer = AnswerSuccess()](ScriptedServer& server, const Received& record) {
          {
            const std::lock_guard lock(order->mutex);
            if (record.command < kCommandCount) order->commands.push_back(static_cast<Command>(record.command));
          }
          if (record.command == static_cast<uint16_t>(Command::kCreateComputePipelines)) {
            const uint8_t refused[] = {0xf3, 0xff, 0xff, 0xff, 0};  // VK_ERROR_UNKNOWN, and no pipeline
            if (record.sequence != 0) server.Answer(record.sequence, refused);
          } else {
            answer(server, record);
          }
        }),
        order_(order) {
    VkCommandPoolCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO;
    EXPECT_EQ(overrides::CreateCommandPool(device(), &info, nullptr, &pool_), VK_SUCCESS);
  }
  ~RecordingTest() override { overrides::DestroyCommandPool(device(), pool_, nullptr); }

  VkCommandBuffer Begin() {
    VkCommandBufferAllocateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
    info.commandPool = pool_;
    info.commandBufferCount = 1;
    VkCommandBuffer commands = VK_NULL_HANDLE;
    EXPECT_EQ(overrides::AllocateCommandBuffers(device(), &info, &commands), VK_SUCCESS);
    BeginAgain(commands);
    return commands;
  }
  static void BeginAgain(VkCommandBuffer commands) {
    VkCommandBufferBeginInfo info{};
    info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
    EXPECT_EQ(overrides::BeginCommandBuffer(commands, &info), VK_SUCCESS);
  }
  VkPipelineLayout MakeLayout() {
    VkPipelineLayoutCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO;
    VkPipelineLayout layout = VK_NULL_HANDLE;
    EXPECT_EQ(entry::CreatePipelineLayout(device(), &info, nullptr, &layout), VK_SUCCESS);
    return layout;
  }
  VkPipeline MakePipeline(VkPipelineLayout layout, VkPipelineCreateFlags flags = 0, VkResult expected = VK_SUCCESS) {
    VkComputePipelineCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO;
    info.flags = flags;
    info.layout = layout;
    info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
    info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
    info.stage.pName = "main";
    VkPipeline pipeline = VK_NULL_HANDLE;
    EXPECT_EQ(entry::CreateComputePipelines(device(), VK_NULL_HANDLE, 1, &info, nullptr, &pipeline), expected);
    return pipeline;
  }
  void Tell(VkPipeline pipeline, VkResult result) {
    const wire::Made made{IdOf(pipeline), result};
    server_.SendEvent(wire::EventKind::kMade, &made, sizeof(made));
  }
  // All that was sent, after it has arrived.
  std::vector<Command> Sent() {
    EXPECT_TRUE(session_.AskControl(wire::Control::kHeartbeat, nullptr, 0));
    const std::lock_guard lock(order_->mutex);
    return order_->commands;
  }
  bool WasSent(Command command) {
    const auto sent = Sent();
    return std::find(sent.begin(), sent.end(), command) != sent.end();
  }

  const std::shared_ptr<Order> order_;
  VkCommandPool pool_ = VK_NULL_HANDLE;
};

TEST_F(RecordingTest, ALayoutIsDestroyedAfterTheRecordsThatUseIt) {
  const VkPipelineLayout layout = MakeLayout();
  const VkCommandBuffer commands = Begin();
  const float value = 1;
  entry::CmdPushConstants(commands, layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(value), &value);
  overrides::DestroyPipelineLayout(device(), layout, nullptr);
  EXPECT_FALSE(WasSent(Command::kDestroyPipelineLayout));
  EXPECT_EQ(overrides::EndCommandBuffer(commands), VK_SUCCESS);
  const auto sent = Sent();
  const auto at = [&](Command command) { return std::find(sent.begin(), sent.end(), command) - sent.begin(); };
  EXPECT_LT(at(Command::kEndCommandBuffer), at(Command::kDestroyPipelineLayout));
  EXPECT_LT(at(Command::kDestroyPipelineLayout), static_cast<ptrdiff_t>(sent.size()));
}

TEST_F(RecordingTest, ADestructionWaitsForThoseThatRecordedThenAndForNoOthers) {
  const VkPipelineLayout layout = MakeLayout();
  const VkCommandBuffer first = Begin(), second = Begin();
  overrides::DestroyPipelineLayout(device(), layout, nullptr);
  const VkCommandBuffer later = Begin();
  EXPECT_EQ(overrides::EndCommandBuffer(second), VK_SUCCESS);
  EXPECT_FALSE(WasSent(Command::kDestroyPipelineLayout));
  EXPECT_EQ(overrides::ResetCommandBuffer(first, 0), VK_SUCCESS);  // ends it as well
  EXPECT_TRUE(WasSent(Command::kDestroyPipelineLayout));
  EXPECT_EQ(overrides::EndCommandBuffer(later), VK_SUCCESS);
}

TEST_F(RecordingTest, AnIdIsUsedAgainOnlyAfterItsDestructionWasSent) {
  const VkPipelineLayout layout = MakeLayout();
  const VkCommandBuffer commands = Begin();
  overrides::DestroyPipelineLayout(device(), layout, nullptr);
  const VkPipelineLayout other = MakeLayout();
  EXPECT_NE(SlotOf(IdOf(other)), SlotOf(IdOf(layout)));
  overrides::FreeCommandBuffers(device(), pool_, 1, &commands);
  EXPECT_TRUE(WasSent(Command::kDestroyPipelineLayout));
  overrides::DestroyPipelineLayout(device(), other, nullptr);
}

TEST_F(RecordingTest, NothingIsHeldBackWhileNothingIsRecorded) {
  overrides::DestroyPipelineLayout(device(), MakeLayout(), nullptr);
  EXPECT_TRUE(WasSent(Command::kDestroyPipelineLayout));
}

TEST_F(RecordingTest, TheEndOfACommandBufferTellsThatItsPipelineCouldNotBeMade) {
  const VkPipelineLayout layout = MakeLayout();
  const VkPipeline pipeline = MakePipeline(layout), other = MakePipeline(layout, 1);
  const VkCommandBuffer commands = Begin(), fine = Begin();
  overrides::CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
  overrides::CmdBindPipeline(fine, VK_PIPELINE_BIND_POINT_COMPUTE, other);
  Tell(pipeline, VK_ERROR_UNKNOWN);
  Tell(other, VK_SUCCESS);
  Sent();  // and the events have come
  EXPECT_EQ(overrides::EndCommandBuffer(commands), VK_ERROR_UNKNOWN);
  EXPECT_EQ(overrides::EndCommandBuffer(fine), VK_SUCCESS);
  BeginAgain(commands);
  EXPECT_EQ(overrides::EndCommandBuffer(commands), VK_SUCCESS);
}

TEST_F(RecordingTest, AVerdictThatTakesLongIsNotWaitedFor) {
  const VkPipeline never = MakePipeline(MakeLayout());
  const VkCommandBuffer commands = Begin();
  overrides::CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, never);
  EXPECT_EQ(overrides::EndCommandBuffer(commands), VK_SUCCESS);
}

TEST_F(RecordingTest, ACreationThatFailedOnceIsWaitedForTheNextTime) {
  const VkPipelineLayout layout = MakeLayout();
  const VkPipeline pipeline = MakePipeline(layout);
  Tell(pipeline, VK_ERROR_UNKNOWN);
  Sent();
  const uint64_t before = round_trips();
  MakePipeline(layout, 1);
  EXPECT_EQ(round_trips(), before) << "another one is not waited for";
  EXPECT_EQ(MakePipeline(layout, 0, VK_ERROR_UNKNOWN), VkPipeline{VK_NULL_HANDLE});
  EXPECT_EQ(round_trips(), before + 1);
}

}  // namespace
}  // namespace vesper::client
