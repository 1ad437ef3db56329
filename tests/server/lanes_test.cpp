// Protects recording beside the reader: calls are made in the order of the program's for each pool, and nothing that must not
// run beside them does.
#include "server/recording/lanes.h"

#include <gtest/gtest.h>

#include <random>

#include "generated/wire/all.h"
#include "runtime/wire/memory_runs.h"
#include "tests/server/test_client.h"

namespace vesper::server {
namespace {

// --- one lane ---------------------------------------------------------------------------------------------------------

struct Noted {
  std::vector<uint32_t> numbers;
  std::atomic<bool> may_go = true;
};

// In place of the driver's vkCmdDraw: the command buffer is where it is noted.
VKAPI_ATTR void VKAPI_CALL Note(VkCommandBuffer noted, uint32_t number, uint32_t, uint32_t, uint32_t) {
  auto& in = *reinterpret_cast<Noted*>(noted);
  in.may_go.wait(false);
  in.numbers.push_back(number);
}

class LaneTest : public testing::Test {
 protected:
  LaneTest() { table_.CmdDraw = Note; }
  // Prepares one more, as the reader does.
  void Prepare(Noted* noted, uint32_t number) {
    Row& row = lane_.Filling();
    Add(&row, noted, number);
    if (row.IsFull()) lane_.Post();
  }
  void Add(Row* row, Noted* noted, uint32_t number) {
    ASSERT_TRUE(row->Takes(&table_));
    PreparedCall* call = row->Place(sizeof(wire::CmdDrawArgs));
    ASSERT_NE(call, nullptr);
    *static_cast<wire::CmdDrawArgs*>(Row::ArgumentsOf(call)) = {reinterpret_cast<VkCommandBuffer>(noted), number, 1, 0,
                                                                0};
    row->Add(call, static_cast<uint16_t>(Command::kCmdDraw));
  }

  alignas(Session) std::byte nothing_[sizeof(Session)];  // which Note() does not touch
  vk::DispatchTable table_{};
  Lane lane_{reinterpret_cast<Session*>(nothing_), size_t{1} << 20};
};

TEST_F(LaneTest, MakesCallsInOrder) {
  Noted noted;
  std::mt19937 random(1);
  constexpr uint32_t kMany = 50'000;  // more than all rows hold
  for (uint32_t i = 0; i < kMany; ++i) {
    Prepare(&noted, i);
    if (random() % 1000 == 0) lane_.Post();
    if (random() % 5000 != 0) continue;
    lane_.Settle();
    ASSERT_EQ(noted.numbers.size(), i + 1);
  }
  lane_.Settle();
  EXPECT_TRUE(lane_.IsIdle());
  ASSERT_EQ(noted.numbers.size(), kMany);
  EXPECT_TRUE(std::is_sorted(noted.numbers.begin(), noted.numbers.end()));
}

TEST_F(LaneTest, IsNotIdleBeforeTheLastCallHasBeenMade) {
  Noted noted;
  noted.may_go = false;
  Prepare(&noted, 0);
  EXPECT_FALSE(lane_.IsIdle()) << "it is still being prepared";
  lane_.Post();
  EXPECT_FALSE(lane_.IsIdle());
  noted.may_go = true;
  noted.may_go.notify_all();
  lane_.Settle();
  EXPECT_TRUE(lane_.IsIdle());
  EXPECT_EQ(noted.numbers.size(), 1u);
}

TEST_F(LaneTest, WhatWasPostedIsMadeBeforeTheEnd) {
  Noted noted;
  {
    Lane lane(reinterpret_cast<Session*>(nothing_), size_t{1} << 20);
    Row& row = lane.Filling();
    Add(&row, &noted, 7);
  }
  EXPECT_EQ(noted.numbers, std::vector<uint32_t>{7});
}

TEST_F(LaneTest, CallsOfOneRowAreOfOneTable) {
  Noted noted;
  const vk::DispatchTable other{};
  Row& row = lane_.Filling();
  EXPECT_TRUE(row.Takes(&other)) << "it is empty";
  Add(&row, &noted, 1);
  EXPECT_FALSE(row.Takes(&other));
  lane_.Post();
  EXPECT_TRUE(lane_.Filling().Takes(&other));
  lane_.Settle();
  EXPECT_EQ(noted.numbers.size(), 1u);
}

// What they point at, large and small, is between them.
TEST_F(LaneTest, CallsFollowEachOtherWhereverTheyLie) {
  Noted noted;
  Row& row = lane_.Filling();
  for (uint32_t i = 0; i < 40; ++i) {
    Add(&row, &noted, i);
    std::memset(row.arena()->Reserve(i % 3 == 0 ? 20'000 : i), 0xff, i);
  }
  lane_.Settle();
  EXPECT_EQ(noted.numbers.size(), 40u);
  EXPECT_TRUE(std::is_sorted(noted.numbers.begin(), noted.numbers.end()));
}

// --- a session with lanes ---------------------------------------------------------------------------------------------

constexpr uint32_t kWords = 512;  // of each command buffer's part of the memory

class LanesTest : public testing::Test {
 protected:
  void SetUp() override {
    PrepareDriverEnvironment();
    std::string error;
    driver_ = Driver::Load({.validation = false, .gpu = "llvmpipe"}, &error);
    ASSERT_NE(driver_, nullptr) << error;
    SessionLimits limits;
    limits.lanes = 2;
    client_ = std::make_unique<TestClient>(driver_.get(), MakeLoopback(), limits);
  }

  VkCommandPool Pool(TestDevice& device) {
    VkCommandPoolCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO;
    auto pool = client_->New<VkCommandPool>(HandleType::kCommandPool);
    wire::CreateCommandPoolArgs args{};
    args.device = device.device;
    args.pCreateInfo = &info;
    args.pCommandPool = &pool;
    client_->Post(Command::kCreateCommandPool, &args);
    return pool;
  }
  void Fill(VkCommandBuffer commands, VkBuffer buffer, VkDeviceSize word, uint32_t value) {
    wire::CmdFillBufferArgs fill{};
    fill.commandBuffer = commands;
    fill.dstBuffer = buffer;
    fill.dstOffset = word * sizeof(uint32_t);
    fill.size = sizeof(uint32_t);
    fill.data = value;
    client_->Post(Command::kCmdFillBuffer, &fill);
  }
  // What the buffer's memory holds once all submits have ended.
  std::vector<uint32_t> Contents(TestDevice& device, VkDeviceMemory memory, size_t words) {
    wire::DeviceWaitIdleArgs idle{device.device, VK_NOT_READY};
    client_->Ask(Command::kDeviceWaitIdle, &idle);
    EXPECT_EQ(idle.result, VK_SUCCESS);
    uint64_t raw;
    std::memcpy(&raw, &memory, sizeof(raw));
    const wire::MemoryMapping mapping{{raw, 0, words * sizeof(uint32_t)}, 0};
    client_->PostControl(wire::Control::kMemoryMapped, &mapping, sizeof(mapping));
    client_->AskControl(wire::Control::kMemoryFetch, &mapping.range, sizeof(mapping.range));
    std::vector<uint8_t> found(words * sizeof(uint32_t));
    for (const TestEvent& event : client_->TakeEvents()) {
      if (event.kind != wire::EventKind::kMemoryChanged) continue;
      const auto runs = event.As<wire::MemoryRuns>();
      std::span<const uint8_t> bytes = std::span(event.body).subspan(sizeof(runs));
      wire::Run run;
      for (uint32_t i = 0; i < runs.count && wire::NextRun(&bytes, &run); ++i) {
        wire::ForEachPiece(run, [&](uint64_t offset, std::span<const uint8_t> piece) {
          std::copy(piece.begin(), piece.end(), found.begin() + static_cast<ptrdiff_t>(offset));
        });
      }
    }
    std::vector<uint32_t> result(words);
    std::memcpy(result.data(), found.data(), found.size());
    return result;
  }

  std::unique_ptr<Driver> driver_;
  std::unique_ptr<TestClient> client_;
};

TEST_F(LanesTest, CommandBuffersOfSeveralPoolsHoldWhatWasRecorded) {
  TestDevice device(client_.get());
  constexpr size_t kBuffers = 6;
  const VkDeviceMemory memory = device.Allocate(kBuffers * kWords * sizeof(uint32_t));
  const VkBuffer buffer = device.Buffer(kBuffers * kWords * sizeof(uint32_t), memory, 0);
  std::vector<VkCommandBuffer> commands;
  for (size_t i = 0; i < kBuffers; ++i) {
    if (i % 2 == 0) device.pool = Pool(device);  // two of each
    commands.push_back(device.Begin());
  }
  // In pieces, as threads of a program that record at the same time hand them over.
  std::mt19937 generator(2);
  const auto random = [&] { return static_cast<uint32_t>(generator()); };
  std::vector<uint32_t> expected(kBuffers * kWords), recorded(kBuffers);
  for (size_t left = kBuffers * kWords; left != 0;) {
    const size_t at = random() % kBuffers;
    for (uint32_t piece = random() % 150; piece != 0 && recorded[at] != kWords; --piece, --left) {
      const size_t word = at * kWords + recorded[at]++;
      expected[word] = random();
      Fill(commands[at], buffer, word, expected[word]);
    }
    if (random() % 4 == 0) client_->Flush();
    if (random() % 8 == 0) device.Allocate(4096);  // what may go on beside
  }
  for (const VkCommandBuffer each : commands) device.Submit(each, VK_NULL_HANDLE);
  client_->AskControl(wire::Control::kHeartbeat, nullptr, 0);
  EXPECT_GT(client_->session().stats().laned, kBuffers * kWords / 4);
  EXPECT_EQ(client_->session().stats().plain, kBuffers * kWords);
  EXPECT_EQ(Contents(device, memory, kBuffers * kWords), expected);
}

TEST_F(LanesTest, ShortCommandBuffersAreTheReaders) {
  TestDevice device(client_.get());
  const VkBuffer buffer = device.Buffer(4096, device.Allocate(4096), 0);
  for (int i = 0; i < 5; ++i) {
    const VkCommandBuffer commands = device.Begin();
    for (uint32_t word = 0; word < limits::kBeforeLane; ++word) Fill(commands, buffer, word, word);
    device.Submit(commands, VK_NULL_HANDLE);
  }
  wire::DeviceWaitIdleArgs idle{device.device, VK_NOT_READY};
  client_->Ask(Command::kDeviceWaitIdle, &idle);
  EXPECT_EQ(idle.result, VK_SUCCESS);
  EXPECT_EQ(client_->session().stats().plain, 5 * limits::kBeforeLane);
  EXPECT_EQ(client_->session().stats().laned, 0u);
}

// What a command buffer in the making names may go at any time: it is invalid then, but the driver must have seen the commands.
TEST_F(LanesTest, ObjectsThatRecordingNamesGoAfterIt) {
  TestDevice device(client_.get());
  for (int round = 0; round < 20; ++round) {
    const VkBuffer buffer = device.Buffer(4096, device.Allocate(4096), 0);
    const VkCommandBuffer commands = device.Begin();
    for (uint32_t word = 0; word < 1000; ++word) Fill(commands, buffer, word, word);
    wire::DestroyBufferArgs destroy{};
    destroy.device = device.device;
    destroy.buffer = buffer;
    client_->Post(Command::kDestroyBuffer, &destroy);
    wire::FreeCommandBuffersArgs free{};
    free.device = device.device;
    free.commandPool = device.pool;
    free.commandBufferCount = 1;
    free.pCommandBuffers = &commands;
    client_->Post(Command::kFreeCommandBuffers, &free);
  }
  client_->AskControl(wire::Control::kHeartbeat, nullptr, 0);
  EXPECT_GT(client_->session().stats().laned, 0u);
  EXPECT_EQ(client_->session().stats().inert, 0u);
}

}  // namespace
}  // namespace vesper::server
