// Protects mapped memory: writes land in the driver's mapping, only bytes that changed travel,
// nothing outside is touched.
#include "server/memory/memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>

#include "runtime/wire/decoder.h"
#include "runtime/wire/memory_runs.h"
#include "runtime/wire/record.h"
#include "server/channel/events.h"
#include "server/channel/outbox.h"
#include "server/memory/write_ledger.h"
#include "tests/server/recording_channel.h"

namespace vesper::server {
namespace {

constexpr size_t kSize = 1 << 20;

// The driver's memory, and what it was asked to flush.
std::vector<uint8_t> g_memory;
std::vector<VkMappedMemoryRange> g_flushed;

VKAPI_ATTR VkResult VKAPI_CALL FakeMap(VkDevice, VkDeviceMemory, VkDeviceSize, VkDeviceSize, VkMemoryMapFlags,
                                       void** data) {
  *data = g_memory.data();
  return VK_SUCCESS;
}
VKAPI_ATTR VkResult VKAPI_CALL FakeFlush(VkDevice, uint32_t count, const VkMappedMemoryRange* ranges) {
  g_flushed.assign(ranges, ranges + count);
  return VK_SUCCESS;
}
// What the device does while a scan goes on: called ahead of each piece that is looked at.
std::function<void(VkDeviceSize)> g_on_look;
VKAPI_ATTR VkResult VKAPI_CALL FakeInvalidate(VkDevice, uint32_t, const VkMappedMemoryRange* range) {
  if (g_on_look) g_on_look(range->offset);
  return VK_SUCCESS;
}

class MemoryTest : public testing::Test {
 protected:
  MemoryTest() {
    g_memory.assign(kSize, 0);
    g_flushed.clear();
    g_on_look = nullptr;
    driver_.MapMemory = FakeMap;
    driver_.FlushMappedMemoryRanges = FakeFlush;
    driver_.InvalidateMappedMemoryRanges = FakeInvalidate;
    channel_.set_at_once(true);
    Register(true);
  }
  void Register(bool coherent) {
    memories_.Register({.table = &driver_, .id = kId, .size = kSize, .flushed = !coherent, .atom = 64});
    EXPECT_TRUE(Control(wire::Control::kMemoryWritable, 0, kSize));
  }
  bool Control(wire::Control control, uint64_t offset, uint64_t size) {
    const wire::MemoryMapping mapping{{kId, offset, size}, 0};
    std::string error;
    return memories_.Execute(control, {reinterpret_cast<const uint8_t*>(&mapping), sizeof(mapping)}, &error);
  }
  bool Write(uint64_t offset, std::vector<uint8_t> bytes, uint64_t claimed = 0) {
    wire::ByteBuffer body;
    const wire::MemoryRuns head{kId, 1, 0};
    const auto size = static_cast<uint32_t>(claimed == 0 ? bytes.size() : claimed);
    const wire::MemoryRun run{offset, size, size};
    body.Append(&head, sizeof(head));
    body.Append(&run, sizeof(run));
    body.Append(bytes.data(), bytes.size());
    std::string error;
    return memories_.Execute(wire::Control::kMemoryWrite, {body.data(), body.size()}, &error);
  }
  // What events said changed, byte by byte; clears the record.
  std::map<uint64_t, uint8_t> Changed() {
    std::map<uint64_t, uint8_t> changed;
    const std::vector<SentMessage> sent = channel_.sent();
    for (; seen_ < sent.size(); ++seen_) {
      std::span<const uint8_t> bytes = sent[seen_].payload;
      wire::RecordHeader header;
      std::span<const uint8_t> body;
      EXPECT_TRUE(wire::NextRecord(&bytes, &header, &body));
      const auto runs = wire::Load<wire::MemoryRuns>(body.data());
      EXPECT_EQ(runs.memory, kId);
      body = body.subspan(sizeof(runs));
      for (uint32_t i = 0; i < runs.count; ++i) {
        wire::Run run;
        EXPECT_TRUE(wire::NextRun(&body, &run));
        wire::ForEachPiece(run, [&](uint64_t offset, std::span<const uint8_t> piece) {
          for (const uint8_t byte : piece) changed[offset++] = byte;
        });
        order_.push_back(run.offset);
      }
    }
    return changed;
  }

  static constexpr ObjectId kId = 0x0900000100000001;
  vk::DispatchTable driver_{};
  RecordingChannel channel_;
  Outbox outbox_{&channel_};
  Events events_{&outbox_};
  MemoryTable memories_{&events_};
  std::shared_ptr<const void> work_ = memories_.writes().Unknown(VK_NULL_HANDLE);  // which may write everything
  size_t seen_ = 0;
  std::vector<uint64_t> order_;  // of runs, as Changed() saw them
};

TEST_F(MemoryTest, WritesLandAndAreNotSentBack) {
  ASSERT_TRUE(Control(wire::Control::kMemoryMapped, 0, kSize));
  ASSERT_TRUE(Write(100, {1, 2, 3}));
  EXPECT_EQ(g_memory[100], 1);
  EXPECT_EQ(g_memory[102], 3);
  memories_.Scan(VK_NULL_HANDLE, false);
  EXPECT_TRUE(Changed().empty());
}

TEST_F(MemoryTest, OnlyChangedBytesTravelAndOnlyOnce) {
  ASSERT_TRUE(Control(wire::Control::kMemoryMapped, 0, kSize));
  g_memory[5] = 9;
  g_memory[7] = 8;
  g_memory[300'000] = 7;
  memories_.Scan(VK_NULL_HANDLE, false);
  EXPECT_EQ(Changed(), (std::map<uint64_t, uint8_t>{{5, 9}, {7, 8}, {300'000, 7}}));
  EXPECT_EQ(memories_.changed_bytes(), 3u);
  memories_.Scan(VK_NULL_HANDLE, false);
  EXPECT_TRUE(Changed().empty());
}

TEST_F(MemoryTest, OnlyMappedRangesAreScanned) {
  ASSERT_TRUE(Control(wire::Control::kMemoryMapped, 1000, 100));
  g_memory[999] = g_memory[1000] = g_memory[1099] = g_memory[1100] = 1;
  memories_.Scan(VK_NULL_HANDLE, false);
  EXPECT_EQ(Changed(), (std::map<uint64_t, uint8_t>{{1000, 1}, {1099, 1}}));
  ASSERT_TRUE(Control(wire::Control::kMemoryUnmapped, 1000, 100));
  g_memory[1001] = 1;
  memories_.Scan(VK_NULL_HANDLE, false);
  EXPECT_TRUE(Changed().empty());
  ASSERT_TRUE(Control(wire::Control::kMemoryFetch, 990, 20));
  EXPECT_EQ(Changed(), (std::map<uint64_t, uint8_t>{{999, 1}, {1001, 1}})) << "a fetch needs no mapping";
}

TEST_F(MemoryTest, WritesOutsideAreMalformed) {
  EXPECT_FALSE(Write(kSize - 2, {1, 2, 3}));
  EXPECT_FALSE(Write(UINT64_MAX, {1}));
  EXPECT_FALSE(Write(0, {1, 2, 3}, 1000)) << "more announced than there is";
  EXPECT_FALSE(Write(0, {1, 2, 3}, UINT32_MAX));
  EXPECT_FALSE(Control(wire::Control::kMemoryMapped, 1, kSize));
  EXPECT_FALSE(Control(wire::Control::kMemoryFetch, kSize + 1, 0));
  std::string error;
  EXPECT_FALSE(memories_.Execute(wire::Control::kMemoryWrite, std::vector<uint8_t>(8, 0), &error));
  EXPECT_FALSE(Control(wire::Control::kMemoryWritable, kSize, 1));
  EXPECT_EQ(std::count(g_memory.begin(), g_memory.end(), 0), static_cast<ptrdiff_t>(kSize));
}

TEST_F(MemoryTest, NonCoherentWritesAreFlushedInWholeAtoms) {
  Register(false);
  ASSERT_TRUE(Write(100, {1, 2, 3}));
  ASSERT_EQ(g_flushed.size(), 1u);
  EXPECT_EQ(g_flushed[0].offset, 64u);
  EXPECT_EQ(g_flushed[0].size, 64u);
  ASSERT_TRUE(Write(kSize - 1, {1}));
  EXPECT_EQ(g_flushed[0].offset, kSize - 64);
  EXPECT_EQ(g_flushed[0].size, VK_WHOLE_SIZE);
}

TEST_F(MemoryTest, WhatTheGpuCannotWriteIsNotLookedAt) {
  memories_.Unregister(kId);
  memories_.Register({.table = &driver_, .id = kId, .size = kSize});
  ASSERT_TRUE(Control(wire::Control::kMemoryMapped, 0, kSize));
  EXPECT_FALSE(memories_.Watches(VK_NULL_HANDLE));
  g_memory[1000] = g_memory[2000] = 1;
  memories_.Scan(VK_NULL_HANDLE, false);
  EXPECT_TRUE(Changed().empty());
  ASSERT_TRUE(Control(wire::Control::kMemoryWritable, 1500, 1000));
  EXPECT_TRUE(memories_.Watches(VK_NULL_HANDLE));
  memories_.Scan(VK_NULL_HANDLE, false);
  EXPECT_EQ(Changed(), (std::map<uint64_t, uint8_t>{{2000, 1}}));
}

// The client takes memory that nobody has written for zeros and sends only what differs from that.
TEST_F(MemoryTest, FreshMemoryIsMadeZero) {
  g_memory.assign(kSize, 7);
  const wire::MemoryMapping mapping{{kId, 0, 100}, 1};
  std::string error;
  const std::span body(reinterpret_cast<const uint8_t*>(&mapping), sizeof(mapping));
  ASSERT_TRUE(memories_.Execute(wire::Control::kMemoryMapped, body, &error));
  EXPECT_EQ(std::count(g_memory.begin(), g_memory.end(), 0), static_cast<ptrdiff_t>(kSize));
  g_memory[5] = 1;
  ASSERT_TRUE(memories_.Execute(wire::Control::kMemoryMapped, body, &error));
  EXPECT_EQ(g_memory[5], 1) << "only the first time";
}

// Memory that only the client writes is its own twin until the device may write it.
TEST_F(MemoryTest, WhatWasWrittenBeforeTheDeviceMayWriteIsNotSentBack) {
  memories_.Unregister(kId);
  memories_.Register({.table = &driver_, .id = kId, .size = kSize});
  g_memory.assign(kSize, 7);
  const wire::MemoryMapping mapping{{kId, 0, kSize}, 1};
  std::string error;
  ASSERT_TRUE(memories_.Execute(wire::Control::kMemoryMapped,
                                {reinterpret_cast<const uint8_t*>(&mapping), sizeof(mapping)}, &error));
  ASSERT_TRUE(Write(100, {1, 2, 3}));
  ASSERT_TRUE(Write(300'000, {4}));
  memories_.Scan(VK_NULL_HANDLE, false);
  EXPECT_TRUE(Changed().empty());
  ASSERT_TRUE(Control(wire::Control::kMemoryWritable, 0, 200'000));
  ASSERT_TRUE(Write(50, {5}));
  memories_.Scan(VK_NULL_HANDLE, false);
  EXPECT_TRUE(Changed().empty());
  g_memory[101] = 9;
  g_memory[199'999] = 9;
  g_memory[300'000] = 9;  // where it may not
  memories_.Scan(VK_NULL_HANDLE, false);
  EXPECT_EQ(Changed(), (std::map<uint64_t, uint8_t>{{101, 9}, {199'999, 9}}));
}

// Who polls a flag must find what was written before it: flags go last, wherever they lie.
TEST_F(MemoryTest, FlagsFollowWhatWasWrittenBeforeThem) {
  ASSERT_TRUE(Control(wire::Control::kMemoryMapped, 0, kSize));
  g_memory[8] = 1;
  std::fill_n(g_memory.begin() + 5000, 1000, uint8_t{2});
  std::fill_n(g_memory.begin() + 900'000, 1000, uint8_t{3});
  memories_.Scan(VK_NULL_HANDLE, true);
  EXPECT_EQ(Changed().size(), 2001u);
  ASSERT_EQ(order_.size(), 3u);
  EXPECT_EQ(order_.back(), 8u);
  memories_.Scan(VK_NULL_HANDLE, true);
  EXPECT_TRUE(Changed().empty());
}

// Both are small and were written while the scan was between their places: one behind it, one ahead.
TEST_F(MemoryTest, ALittleThatWasWrittenBeforeAFlagIsSentBeforeIt) {
  memories_.Unregister(kId);
  Register(false);
  ASSERT_TRUE(Control(wire::Control::kMemoryMapped, 0, kSize));
  bool written = false;
  g_on_look = [&](VkDeviceSize offset) {
    if (offset < kSize / 2 || std::exchange(written, true)) return;
    g_memory[100] = 1;
    g_memory[900'000] = 2;
  };
  memories_.Scan(VK_NULL_HANDLE, true);
  EXPECT_EQ(Changed(), (std::map<uint64_t, uint8_t>{{100, 1}, {900'000, 2}}));
  EXPECT_EQ(order_, (std::vector<uint64_t>{100, 900'000}));
}

// A counter that never stands still: the scan ends, and the last value wins.
TEST_F(MemoryTest, WhatIsOverwrittenWhileItIsHeldIsSentOnce) {
  memories_.Unregister(kId);
  Register(false);
  ASSERT_TRUE(Control(wire::Control::kMemoryMapped, 0, kSize));
  uint8_t looks = 0;
  g_on_look = [&](VkDeviceSize offset) {
    if (offset == 0) g_memory[5] = ++looks;
  };
  memories_.Scan(VK_NULL_HANDLE, true);
  EXPECT_EQ(Changed(), (std::map<uint64_t, uint8_t>{{5, looks}}));
  EXPECT_EQ(order_.size(), 1u);
  EXPECT_GE(looks, 2);
}

TEST_F(MemoryTest, ManyLoneBytesAllArrive) {
  ASSERT_TRUE(Control(wire::Control::kMemoryMapped, 0, kSize));
  std::map<uint64_t, uint8_t> expected;
  for (uint64_t at = 0; at < kSize; at += 500) expected[at] = g_memory[at] = static_cast<uint8_t>(at / 500 % 255 + 1);
  memories_.Scan(VK_NULL_HANDLE, false);
  EXPECT_EQ(Changed(), expected);
}

// Else a client that overwrites with what it last knew would send nothing.
TEST_F(MemoryTest, MemoryThatIsNotCoherentIsScannedToo) {
  memories_.Unregister(kId);
  Register(false);
  ASSERT_TRUE(Control(wire::Control::kMemoryMapped, 0, kSize));
  g_memory[5] = 1;
  memories_.Scan(VK_NULL_HANDLE, false);
  EXPECT_EQ(Changed().size(), 1u);
}

TEST_F(MemoryTest, WhatNoSubmitCanHaveWrittenIsNotLookedAt) {
  ASSERT_TRUE(Control(wire::Control::kMemoryMapped, 0, kSize));
  memories_.Scan(VK_NULL_HANDLE, false);
  const uint64_t all = memories_.compared_bytes();
  EXPECT_EQ(all, kSize);
  work_.reset();
  g_memory[7] = 1;
  memories_.Scan(VK_NULL_HANDLE, false);
  EXPECT_EQ(memories_.compared_bytes(), all);
  EXPECT_TRUE(Changed().empty());
  work_ = memories_.writes().Unknown(VK_NULL_HANDLE);
  memories_.Scan(VK_NULL_HANDLE, false);
  EXPECT_EQ(Changed().size(), 1u);
}

TEST_F(MemoryTest, MemoryThatOthersWriteIsAlwaysLookedAt) {
  memories_.Unregister(kId);
  memories_.Register({.table = &driver_, .id = kId, .size = kSize, .foreign = true});
  EXPECT_TRUE(Control(wire::Control::kMemoryWritable, 0, kSize));
  ASSERT_TRUE(Control(wire::Control::kMemoryMapped, 0, kSize));
  work_.reset();
  g_memory[7] = 1;
  memories_.Scan(VK_NULL_HANDLE, false);
  EXPECT_EQ(Changed().size(), 1u);
}

// Whoever asks for it is told of writes that were not foreseen, and gets them.
TEST(CheckedMemoryTest, UnforeseenWritesAreCounted) {
  ASSERT_EQ(setenv("VESPER_CHECK_WRITES", "1", 1), 0);
  g_memory.assign(kSize, 0);
  vk::DispatchTable driver{};
  driver.MapMemory = FakeMap;
  RecordingChannel channel;
  Outbox outbox(&channel);
  Events events(&outbox);
  MemoryTable memories(&events);
  unsetenv("VESPER_CHECK_WRITES");
  memories.Register({.table = &driver, .id = 1, .size = kSize});
  const wire::MemoryMapping whole{{1, 0, kSize}, 0};
  const std::span<const uint8_t> body(reinterpret_cast<const uint8_t*>(&whole), sizeof(whole));
  std::string error;
  ASSERT_TRUE(memories.Execute(wire::Control::kMemoryWritable, body, &error));
  ASSERT_TRUE(memories.Execute(wire::Control::kMemoryMapped, body, &error));
  memories.Scan(VK_NULL_HANDLE, false);
  EXPECT_EQ(memories.missed_bytes(), 0u);
  g_memory[7] = 1;
  memories.Scan(VK_NULL_HANDLE, true);
  EXPECT_EQ(memories.missed_bytes(), 0u) << "not while work runs";
  memories.Scan(VK_NULL_HANDLE, false);
  const uint64_t missed = memories.missed_bytes();
  EXPECT_NE(missed, 0u);
  ASSERT_TRUE(memories.Execute(wire::Control::kMemoryUnmapped, body, &error));
  g_memory[9] = 1;
  ASSERT_TRUE(memories.Execute(wire::Control::kMemoryMapped, body, &error));
  memories.Scan(VK_NULL_HANDLE, false);
  EXPECT_EQ(memories.missed_bytes(), missed) << "what was written before the mapping is fetched";
  g_memory[9] = 2;
  memories.Scan(VK_NULL_HANDLE, false);
  EXPECT_GT(memories.missed_bytes(), missed);
}

TEST_F(MemoryTest, FreedMemoryIsLeftAlone) {
  ASSERT_TRUE(Control(wire::Control::kMemoryMapped, 0, kSize));
  memories_.Unregister(kId);
  g_memory[1] = 1;
  memories_.Scan(VK_NULL_HANDLE, false);
  EXPECT_TRUE(Changed().empty());
  EXPECT_TRUE(Write(0, {1})) << "a late write is no fault of the client";
  EXPECT_EQ(g_memory[0], 0);
}

}  // namespace
}  // namespace vesper::server
