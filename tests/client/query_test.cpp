// Protects: results that cannot change any more are asked for once, those of the next submit come without being waited for, and
// neither is ever taken for what a later submit or reset has made of the queries.
#include "generated/wire/query.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "generated/wire/codecs.h"
#include "tests/client/fixture.h"

namespace vesper::client {
namespace {

constexpr auto kQuestion = static_cast<uint16_t>(Command::kGetQueryPoolResults);

// Answers of queries are `available_`, and their number: each is another one. What is asked with a submit is answered when that
// has completed.
class QueryTest : public ClientFixture {
 protected:
  QueryTest()
      : ClientFixture([this](ScriptedServer& server, const Received& record) {
          if (record.command != kQuestion) return AnswerSuccess()(server, record);
          if (submitting_) {
            ahead_.push_back(record.sequence);
          } else {
            Answer(record.sequence);
          }
        }) {
    VkQueryPoolCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO;
    info.queryType = VK_QUERY_TYPE_TIMESTAMP;
    info.queryCount = 2;
    EXPECT_EQ(overrides::CreateQueryPool(device(), &info, nullptr, &queries_), VK_SUCCESS);
    VkCommandPoolCreateInfo pool_info{};
    pool_info.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO;
    EXPECT_EQ(overrides::CreateCommandPool(device(), &pool_info, nullptr, &pool_), VK_SUCCESS);
  }
  ~QueryTest() override {
    overrides::DestroyCommandPool(device(), pool_, nullptr);
    overrides::DestroyQueryPool(device(), queries_, nullptr);
  }

  VkCommandBuffer Begin(VkCommandBufferLevel level = VK_COMMAND_BUFFER_LEVEL_PRIMARY) {
    VkCommandBufferAllocateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
    info.commandPool = pool_;
    info.level = level;
    info.commandBufferCount = 1;
    VkCommandBuffer commands = nullptr;
    EXPECT_EQ(overrides::AllocateCommandBuffers(device(), &info, &commands), VK_SUCCESS);
    Begin(commands);
    return commands;
  }
  void Begin(VkCommandBuffer commands) {
    VkCommandBufferInheritanceInfo inherits{};
    inherits.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_INHERITANCE_INFO;
    VkCommandBufferBeginInfo info{};
    info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
    info.pInheritanceInfo = &inherits;
    EXPECT_EQ(overrides::BeginCommandBuffer(commands, &info), VK_SUCCESS);
  }
  VkCommandBuffer Stamps() {
    VkCommandBuffer commands = Begin();
    entry::CmdWriteTimestamp(commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, queries_, 0);
    EXPECT_EQ(overrides::EndCommandBuffer(commands), VK_SUCCESS);
    return commands;
  }
  void Submit(VkCommandBuffer commands) {
    VkSubmitInfo info{};
    info.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
    info.commandBufferCount = 1;
    info.pCommandBuffers = &commands;
    submitting_ = true;
    ASSERT_EQ(overrides::QueueSubmit(queue(), 1, &info, VK_NULL_HANDLE), VK_SUCCESS);
    ASSERT_TRUE(session_.AskControl(wire::Control::kHeartbeat, nullptr, 0));  // all has come
    submitting_ = false;
  }
  void Answer(uint64_t sequence) {
    uint64_t packed[2] = {++answers_, available_};
    wire::GetQueryPoolResultsArgs args{};
    args.dataSize = sizeof(packed);
    args.pData = packed;
    args.result = available_ != 0 ? VK_SUCCESS : VK_NOT_READY;
    wire::ByteBuffer reply;
    wire::Encoder encoder(&reply);
    wire::kCodecs[kQuestion].encode_reply(encoder, &args);
    server_.Answer(sequence, {reply.data(), reply.size()});
  }
  // The client has heard of it.
  void Finish(uint64_t serial) {
    for (const uint64_t sequence : std::exchange(ahead_, {})) Answer(sequence);
    Complete(serial);
    ASSERT_TRUE(session_.AskControl(wire::Control::kHeartbeat, nullptr, 0));
    ASSERT_EQ(queue_.completed, serial);
  }
  uint64_t Read(VkQueryResultFlags flags = 0, VkResult expected = VK_SUCCESS) {
    uint64_t values[4] = {};
    EXPECT_EQ(overrides::GetQueryPoolResults(device(), queries_, 0, 1, sizeof(values), values, sizeof(values),
                                             flags | VK_QUERY_RESULT_64_BIT),
              expected);
    return values[0];
  }
  size_t Questions() { return RecordsOf(Command::kGetQueryPoolResults); }

  VkQueryPool queries_ = VK_NULL_HANDLE;
  VkCommandPool pool_ = VK_NULL_HANDLE;
  std::atomic<uint64_t> answers_{0};
  std::atomic<uint64_t> available_{1};
  std::atomic<bool> submitting_{false};
  std::vector<uint64_t> ahead_;  // questions, by sequence
};

TEST_F(QueryTest, WhatCannotChangeIsAskedForOnce) {
  Submit(Stamps());
  Finish(1);
  EXPECT_EQ(Read(), 1u);
  const uint64_t trips = round_trips();
  EXPECT_EQ(Read(VK_QUERY_RESULT_WAIT_BIT), 1u);
  uint32_t narrow[2] = {};
  EXPECT_EQ(overrides::GetQueryPoolResults(device(), queries_, 0, 1, sizeof(narrow), narrow, 8,
                                           VK_QUERY_RESULT_WITH_AVAILABILITY_BIT),
            VK_SUCCESS);
  EXPECT_EQ(narrow[0], 1u);
  EXPECT_EQ(narrow[1], 1u);
  EXPECT_EQ(round_trips(), trips);
}

TEST_F(QueryTest, WhatIsNotThereAndCannotComeIsAskedForOnce) {
  available_ = 0;
  EXPECT_EQ(Read(0, VK_NOT_READY), 0u);
  EXPECT_EQ(Read(0, VK_NOT_READY), 0u);
  EXPECT_EQ(round_trips(), 1u);
}

TEST_F(QueryTest, ResultsOfTheNextSubmitComeUnasked) {
  const VkCommandBuffer stamps = Stamps();
  Submit(stamps);
  Finish(1);
  EXPECT_EQ(Read(), 1u);
  Submit(stamps);
  EXPECT_EQ(Questions(), 2u) << "asked for with the submit";
  Finish(2);
  const uint64_t trips = round_trips();
  EXPECT_EQ(Read(), 2u);
  EXPECT_EQ(Read(), 2u);
  EXPECT_EQ(round_trips(), trips);
  Submit(stamps);
  Submit(stamps);
  Finish(4);
  EXPECT_EQ(Questions(), 3u) << "what nobody read is not asked for again";
  Read();
}

TEST_F(QueryTest, OtherSubmitsChangeNothing) {
  Submit(Stamps());
  Finish(1);
  Read();
  VkCommandBuffer other = Begin();
  EXPECT_EQ(overrides::EndCommandBuffer(other), VK_SUCCESS);
  Submit(other);
  const uint64_t trips = round_trips();
  EXPECT_EQ(Read(), 1u);
  EXPECT_EQ(round_trips(), trips);
  EXPECT_EQ(Questions(), 1u);
}

TEST_F(QueryTest, WhileASubmitIsUnderWayOnlyTheServerKnows) {
  const VkCommandBuffer stamps = Stamps();
  Submit(stamps);
  EXPECT_EQ(Read(), 1u);
  EXPECT_EQ(Read(), 2u) << "it may be reset and written again";
  Finish(1);
  EXPECT_EQ(Read(), 3u);
  Submit(stamps);
  EXPECT_EQ(Read(), 4u) << "what was asked ahead tells of the completion";
  Finish(2);
  EXPECT_EQ(Read(), 5u);
}

TEST_F(QueryTest, ResetsOfTheHostEndWhatIsKnown) {
  const VkCommandBuffer stamps = Stamps();
  Submit(stamps);
  Finish(1);
  EXPECT_EQ(Read(), 1u);
  Submit(stamps);
  Finish(2);
  overrides::ResetQueryPool(device(), queries_, 0, 1);
  EXPECT_EQ(Read(), 3u) << "not what came of the submit before";
}

// The answer may need what is submitted: a semaphore that it signals.
TEST_F(QueryTest, WhoWaitsForAnAnswerHoldsUpNoSubmit) {
  const VkCommandBuffer stamps = Stamps();
  Submit(stamps);
  submitting_ = true;  // the server does not answer
  std::thread reader([this] { Read(); });
  ASSERT_TRUE(server_.AwaitRecords(kQuestion, 1));
  Submit(stamps);
  Finish(2);
  reader.join();
}

TEST_F(QueryTest, SecondaryCommandBuffersCount) {
  VkCommandBuffer secondary = Begin(VK_COMMAND_BUFFER_LEVEL_SECONDARY);
  entry::CmdResetQueryPool(secondary, queries_, 0, 1);
  EXPECT_EQ(overrides::EndCommandBuffer(secondary), VK_SUCCESS);
  VkCommandBuffer primary = Begin();
  overrides::CmdExecuteCommands(primary, 1, &secondary);
  EXPECT_EQ(overrides::EndCommandBuffer(primary), VK_SUCCESS);
  EXPECT_EQ(Read(), 1u);
  Submit(primary);
  EXPECT_EQ(Read(), 2u);
  Finish(1);
  EXPECT_EQ(Read(), 3u);
  Begin(primary);
  EXPECT_EQ(overrides::EndCommandBuffer(primary), VK_SUCCESS);
  Submit(primary);
  EXPECT_EQ(Read(), 3u) << "begun anew it uses no queries";
}

}  // namespace
}  // namespace vesper::client
