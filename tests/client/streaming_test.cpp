// Command buffers: what is recorded leaves while the program still records, and what is given up leaves no more.
#include <algorithm>
#include <string_view>
#include <vector>

#include "generated/client/name_table.h"
#include "generated/wire/codecs.h"
#include "runtime/wire/record.h"
#include "tests/client/fixture.h"
#include "tests/wire/model.h"
#include "tests/wire/random.h"

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

// Values and handles alone: their records are a row of stores.
bool IsFixed(const test::CommandTable& command) {
  if (!std::string_view(command.args.name).starts_with("vkCmd") || command.result_size != 0) return false;
  return std::all_of(command.args.members.begin(), command.args.members.end(), [](const test::Member& m) {
    return m.pointers == 0 &&
           (m.what == test::What::kNumber || m.what == test::What::kReal || m.what == test::What::kHandle);
  });
}

TEST_F(StreamingTest, StoresAreWhatTheCodecsWrite) {
  Begin();
  CommandBuffer* buffer = FromHandle<CommandBuffer>(commands_);
  test::Random random(1);
  size_t compared = 0;
  for (size_t c = 0; c < test::kCommandTableCount; ++c) {
    const test::CommandTable& command = *test::kCommandTables[c];
    const NameEntry* name = FindEntryPoint(command.args.name);
    if (name == nullptr || !IsFixed(command)) continue;
    alignas(16) uint8_t args[256]{};
    for (const test::Member& m : command.args.members) {
      random.Bytes(args + m.offset, m.size * std::max<size_t>(m.extent, 1));
      if (m.what != test::What::kHandle) continue;
      const uint64_t id =
          m.handle == HandleType::kCommandBuffer ? reinterpret_cast<uintptr_t>(commands_) : NewId(m.handle);
      std::memcpy(args + m.offset, &id, sizeof(id));
    }
    const size_t mark = buffer->records.size();
    command.call(args, name->functions.plain);
    const std::vector<uint8_t> stored(buffer->records.data() + mark, buffer->records.data() + buffer->records.size());
    wire::ByteBuffer expected;
    const size_t begin = wire::BeginRecord(&expected, static_cast<uint16_t>(command.id), 0);
    wire::Encoder encoder(&expected);
    wire::kCodecs[static_cast<size_t>(command.id)].encode_request(encoder, args);
    ASSERT_TRUE(wire::EndRecord(&expected, begin));
    ASSERT_EQ(stored, std::vector<uint8_t>(expected.data(), expected.data() + expected.size())) << command.args.name;
    ++compared;
  }
  EXPECT_GT(compared, 50u);
}

}  // namespace
}  // namespace vesper::client
