// Command buffers: what is recorded leaves while the program still records, and what is given up leaves no more.
#include "tests/client/fixture.h"

namespace vesper::client {
namespace {

class StreamingTest : public ClientFixture {
 protected:
  StreamingTest() {
    const VkCommandPoolCreateInfo info{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO, nullptr, 0, 0};
    EXPECT_EQ(overrides::CreateCommandPool(device(), &info, nullptr, &pool_), VK_SUCCESS);
    const VkCommandBufferAllocateInfo allocation{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO, nullptr, pool_,
                                                 VK_COMMAND_BUFFER_LEVEL_PRIMARY, 1};
    EXPECT_EQ(overrides::AllocateCommandBuffers(device(), &allocation, &commands_), VK_SUCCESS);
  }
  ~StreamingTest() override { overrides::DestroyCommandPool(device(), pool_, nullptr); }
  void Begin() {
    const VkCommandBufferBeginInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO, nullptr, 0, nullptr};
    ASSERT_EQ(overrides::BeginCommandBuffer(commands_, &info), VK_SUCCESS);
  }
  void Draw(uint32_t times) {
    for (uint32_t i = 0; i < times; ++i) entry::CmdDraw(commands_, 3, 1, i, 0);
  }

  VkCommandPool pool_ = VK_NULL_HANDLE;
  VkCommandBuffer commands_ = VK_NULL_HANDLE;
};

// 64,000 bytes, in pieces of at most 8 KiB and one record: all but the last piece come without an end, a submit or a wait.
TEST_F(StreamingTest, RecordsLeaveWhileTheProgramRecords) {
  Begin();
  Draw(2000);
  EXPECT_TRUE(server_.AwaitRecords(static_cast<uint16_t>(Command::kCmdDraw), 2000 - 256));
  EXPECT_EQ(RecordsOf(Command::kEndCommandBuffer), 0u);
  ASSERT_EQ(overrides::EndCommandBuffer(commands_), VK_SUCCESS);
  session_.connection().Flush();
  EXPECT_TRUE(server_.AwaitRecords(static_cast<uint16_t>(Command::kEndCommandBuffer), 1));
  EXPECT_EQ(RecordsOf(Command::kCmdDraw), 2000u);
  EXPECT_EQ(round_trips(), 0u);
}

TEST_F(StreamingTest, WhatIsGivenUpLeavesNoMore) {
  Begin();
  Draw(300);  // one piece has left
  ASSERT_EQ(overrides::ResetCommandBuffer(commands_, 0), VK_SUCCESS);
  Begin();
  ASSERT_EQ(overrides::EndCommandBuffer(commands_), VK_SUCCESS);
  session_.connection().Flush();
  EXPECT_TRUE(server_.AwaitRecords(static_cast<uint16_t>(Command::kEndCommandBuffer), 1));
  EXPECT_GE(RecordsOf(Command::kCmdDraw), 250u);
  EXPECT_LT(RecordsOf(Command::kCmdDraw), 300u);
  EXPECT_EQ(RecordsOf(Command::kResetCommandBuffer), 1u);
  EXPECT_EQ(RecordsOf(Command::kBeginCommandBuffer), 2u);
}

}  // namespace
}  // namespace vesper::client
