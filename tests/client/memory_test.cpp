// Protects: exactly the bytes that the application wrote travel, ahead of the trigger, and what the device wrote never
// overwrites them.
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "client/memory/memcmp_tracker.h"
#include "runtime/wire/decoder.h"
#include "tests/client/fixture.h"

namespace vesper::client {
namespace {

constexpr uint64_t kSize = 64 * 1024 + 100;

TEST(MemcmpTracker, SendsExactlyWhatChanged) {
  std::mt19937 random(7);
  const auto below = [&](uint64_t bound) { return std::uniform_int_distribution<uint64_t>(0, bound - 1)(random); };
  const auto tracker = MakeMemcmpTracker(kSize);
  ASSERT_NE(tracker, nullptr);
  std::vector<uint8_t> server(kSize, 0);     // what a server would hold
  std::vector<uint8_t> reference(kSize, 0);  // what the application sees
  for (int round = 0; round < 300; ++round) {
    uint64_t changed = 0;
    const std::vector<uint8_t> before = reference;
    for (uint64_t writes = below(20); writes > 0; --writes) {
      const uint64_t at = below(kSize);
      const uint64_t size = std::min(kSize - at, 1 + below(below(2) == 0 ? 10 : 9000));
      const auto value = static_cast<uint8_t>(below(4));
      std::memset(reference.data() + at, value, size);
      std::memset(tracker->shadow() + at, value, size);
    }
    for (uint64_t i = 0; i < kSize; ++i) changed += reference[i] != before[i] ? 1u : 0u;
    if (below(3) == 0) {  // the device writes elsewhere at the same time
      const std::string bytes(1 + below(200), static_cast<char>(below(250)));
      const uint64_t at = below(kSize - bytes.size());
      bool untouched = true;
      for (uint64_t i = at; i < at + bytes.size(); ++i) untouched = untouched && reference[i] == before[i];
      if (untouched) {
        ASSERT_TRUE(tracker->Apply(at, std::span(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size())));
        std::memcpy(reference.data() + at, bytes.data(), bytes.size());
        std::memcpy(server.data() + at, bytes.data(), bytes.size());
      }
    }
    uint64_t sent = 0;
    tracker->Collect(0, kSize, [&](uint64_t offset, std::span<const uint8_t> bytes) {
      for (const uint8_t byte : bytes) {
        EXPECT_NE(server[offset], byte) << "an unchanged byte travelled";
        server[offset++] = byte;
      }
      sent += bytes.size();
    });
    ASSERT_EQ(sent, changed);
    ASSERT_EQ(server, reference);
    ASSERT_EQ(std::memcmp(tracker->shadow(), reference.data(), kSize), 0);
  }
}

TEST(MemcmpTracker, CollectsOnlyTheRange) {
  const auto tracker = MakeMemcmpTracker(kSize);
  std::memset(tracker->shadow(), 1, kSize);
  uint64_t sent = 0;
  const auto count = [&](uint64_t offset, std::span<const uint8_t> bytes) {
    EXPECT_GE(offset, 5000u);
    EXPECT_LE(offset + bytes.size(), 15'000u);
    sent += bytes.size();
  };
  tracker->Collect(5000, 10'000, count);
  EXPECT_EQ(sent, 10'000u);
  tracker->Collect(5000, 10'000, count);
  EXPECT_EQ(sent, 10'000u) << "nothing changed since";
  tracker->Collect(kSize, 10, count);
  tracker->Collect(kSize + 10, UINT64_MAX, count);
  EXPECT_EQ(sent, 10'000u);
}

TEST(MemcmpTracker, RefusesBytesBeyondTheMemory) {
  const auto tracker = MakeMemcmpTracker(100);
  const std::vector<uint8_t> bytes(10, 1);
  EXPECT_FALSE(tracker->Apply(91, bytes));
  EXPECT_FALSE(tracker->Apply(UINT64_MAX - 2, bytes));
  EXPECT_TRUE(tracker->Apply(90, bytes));
}

class MemoryTest : public ClientFixture {
 protected:
  VkDeviceMemory Allocate(uint64_t size, uint32_t type = 0) {
    VkMemoryAllocateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
    info.allocationSize = size;
    info.memoryTypeIndex = type;
    VkDeviceMemory memory = VK_NULL_HANDLE;
    EXPECT_EQ(overrides::AllocateMemory(device(), &info, nullptr, &memory), VK_SUCCESS);
    return memory;
  }
  uint8_t* Map(VkDeviceMemory memory, uint64_t offset = 0, uint64_t size = VK_WHOLE_SIZE) {
    void* data = nullptr;
    EXPECT_EQ(overrides::MapMemory(device(), memory, offset, size, 0, &data), VK_SUCCESS);
    return static_cast<uint8_t*>(data);
  }
  // What kMemoryWrite records have put into `size` bytes so far.
  std::vector<uint8_t> Written(size_t size) {
    std::vector<uint8_t> result(size, 0);
    for (const Received& record : server_.Records(static_cast<uint16_t>(wire::Control::kMemoryWrite))) {
      std::span<const uint8_t> body = record.body;
      const auto runs = wire::Load<wire::MemoryRuns>(body.data());
      body = body.subspan(sizeof(runs));
      for (uint32_t i = 0; i < runs.count; ++i) {
        const auto run = wire::Load<wire::MemoryRun>(body.data());
        std::memcpy(result.data() + run.offset, body.data() + sizeof(run), run.size);
        body = body.subspan(sizeof(run) + (run.size + 7) / 8 * 8);
      }
      EXPECT_TRUE(body.empty());
    }
    return result;
  }
  uint64_t dirty() { return session_.statistics().dirty_bytes; }
};

TEST_F(MemoryTest, WritesPrecedeTheSubmit) {
  const VkDeviceMemory memory = Allocate(kSize);
  uint8_t* data = Map(memory);
  EXPECT_TRUE(server_.Records(static_cast<uint16_t>(wire::Control::kMemoryFetch)).size() == 1) << "the first map fetches";
  data[3] = 1;
  data[4] = 2;
  data[60'000] = 3;
  ASSERT_EQ(overrides::QueueSubmit(queue(), 0, nullptr, VK_NULL_HANDLE), VK_SUCCESS);
  ASSERT_TRUE(server_.AwaitRecords(static_cast<uint16_t>(Command::kQueueSubmit), 1));
  const auto written = Written(kSize);
  EXPECT_EQ(written[3], 1);
  EXPECT_EQ(written[4], 2);
  EXPECT_EQ(written[60'000], 3);
  EXPECT_EQ(dirty(), 3u);
  ASSERT_EQ(overrides::QueueSubmit(queue(), 0, nullptr, VK_NULL_HANDLE), VK_SUCCESS);
  EXPECT_EQ(dirty(), 3u) << "nothing changed, nothing travels";
}

TEST_F(MemoryTest, WhatTheDeviceWroteIsThereWhenItsCompletionIs) {
  const VkDeviceMemory memory = Allocate(kSize);
  uint8_t* data = Map(memory);
  for (uint64_t round = 1; round <= 200; ++round) {
    ASSERT_EQ(overrides::QueueSubmit(queue(), 0, nullptr, VK_NULL_HANDLE), VK_SUCCESS);
    const std::string bytes = std::to_string(1000 + round);
    data[99] = static_cast<uint8_t>(round);  // the application's neighbour byte, written meanwhile
    server_.ChangeMemory(IdOf(memory), 100, bytes);
    Complete(round);
    ASSERT_EQ(overrides::QueueWaitIdle(queue()), VK_SUCCESS);
    ASSERT_EQ(std::memcmp(data + 100, bytes.data(), bytes.size()), 0);
    ASSERT_EQ(data[99], static_cast<uint8_t>(round));
  }
  EXPECT_EQ(session_.statistics().blocks_received, 200u);
  EXPECT_EQ(dirty(), 199u) << "what the device wrote is never sent back; the last write was not submitted";
}

TEST_F(MemoryTest, SubRangesAreMappedWhereTheyLie) {
  const VkDeviceMemory memory = Allocate(kSize);
  uint8_t* data = Map(memory, 5000, 100);
  std::memset(data, 9, 100);
  overrides::UnmapMemory(device(), memory);
  session_.connection().Flush();
  ASSERT_TRUE(server_.AwaitRecords(static_cast<uint16_t>(wire::Control::kMemoryUnmapped), 1));
  const auto written = Written(kSize);
  for (size_t i = 0; i < kSize; ++i) ASSERT_EQ(written[i], i >= 5000 && i < 5100 ? 9 : 0) << i;
}

TEST_F(MemoryTest, ContentsSurviveUnmapping) {
  const VkDeviceMemory memory = Allocate(kSize);
  Map(memory)[7] = 42;
  overrides::UnmapMemory(device(), memory);
  EXPECT_EQ(Map(memory)[7], 42);
  overrides::FreeMemory(device(), memory, nullptr);
}

TEST_F(MemoryTest, NonCoherentMemoryTravelsWhenFlushed) {
  const VkDeviceMemory memory = Allocate(kSize, 1);
  uint8_t* data = Map(memory);
  data[10] = 1;
  data[5000] = 2;
  ASSERT_EQ(overrides::QueueSubmit(queue(), 0, nullptr, VK_NULL_HANDLE), VK_SUCCESS);
  EXPECT_EQ(dirty(), 0u);
  VkMappedMemoryRange range{};
  range.sType = VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE;
  range.memory = memory;
  range.size = 4096;
  ASSERT_EQ(overrides::FlushMappedMemoryRanges(device(), 1, &range), VK_SUCCESS);
  EXPECT_EQ(dirty(), 1u);
  range.offset = 4096;
  range.size = VK_WHOLE_SIZE;
  ASSERT_EQ(overrides::FlushMappedMemoryRanges(device(), 1, &range), VK_SUCCESS);
  EXPECT_EQ(dirty(), 2u);
  ASSERT_EQ(overrides::InvalidateMappedMemoryRanges(device(), 1, &range), VK_SUCCESS);
  EXPECT_EQ(server_.Records(static_cast<uint16_t>(wire::Control::kMemoryFetch)).size(), 2u);
}

TEST_F(MemoryTest, ThreadsThatSubmitSeeEachOthersWritesAhead) {
  const VkDeviceMemory memory = Allocate(kSize);
  uint8_t* data = Map(memory);
  Queue* second = AddQueue();
  std::vector<std::thread> threads;
  for (Queue* each : {&queue_, second}) {
    threads.emplace_back([this, each, data, at = each == second ? 8 : 0] {
      for (uint64_t i = 1; i <= 300; ++i) {
        std::memcpy(data + at, &i, sizeof(i));
        overrides::QueueSubmit(ToHandle<VkQueue>(each), 0, nullptr, VK_NULL_HANDLE);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE(server_.AwaitRecords(static_cast<uint16_t>(Command::kQueueSubmit), 600));
  EXPECT_EQ(std::memcmp(Written(kSize).data(), data, 16), 0);
}

}  // namespace
}  // namespace vesper::client
