// Protects mapped memory: writes land in the driver's mapping, only bytes that changed travel,
// nothing outside is touched.
#include "server/memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "runtime/wire/decoder.h"
#include "runtime/wire/record.h"
#include "tests/server/recording_channel.h"

namespace vesper::server {
namespace {

constexpr size_t kSize = 1 << 20;

// The driver's memory, and what it was asked to flush.
std::vector<uint8_t> g_memory;
std::vector<VkMappedMemoryRange> g_flushed;

VKAPI_ATTR VkResult VKAPI_CALL FakeMap(VkDevice, VkDeviceMemory, VkDeviceSize, VkDeviceSize,
                                       VkMemoryMapFlags, void** data) {
  *data = g_memory.data();
  return VK_SUCCESS;
}
VKAPI_ATTR VkResult VKAPI_CALL FakeFlush(VkDevice, uint32_t count,
                                         const VkMappedMemoryRange* ranges) {
  g_flushed.assign(ranges, ranges + count);
  return VK_SUCCESS;
}
VKAPI_ATTR VkResult VKAPI_CALL FakeInvalidate(VkDevice, uint32_t, const VkMappedMemoryRange*) {
  return VK_SUCCESS;
}

class MemoryTest : public testing::Test {
 protected:
  MemoryTest() {
    g_memory.assign(kSize, 0);
    g_flushed.clear();
    driver_.MapMemory = FakeMap;
    driver_.FlushMappedMemoryRanges = FakeFlush;
    driver_.InvalidateMappedMemoryRanges = FakeInvalidate;
    channel_.set_at_once(true);
    Register(true);
  }
  void Register(bool coherent) {
    memories_.Register(
        {.table = &driver_, .id = kId, .size = kSize, .coherent = coherent, .atom = 64});
  }
  bool Control(wire::Control control, uint64_t offset, uint64_t size) {
    const wire::MemoryRange range{kId, offset, size};
    std::string error;
    return memories_.Execute(control, {reinterpret_cast<const uint8_t*>(&range), sizeof(range)},
                             &error);
  }
  bool Write(uint64_t offset, std::vector<uint8_t> bytes, uint64_t claimed = 0) {
    wire::ByteBuffer body;
    const wire::MemoryRuns head{kId, 1, 0};
    const wire::MemoryRun run{offset, claimed == 0 ? bytes.size() : claimed};
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
      const uint8_t* at = body.data() + sizeof(runs);
      for (uint32_t i = 0; i < runs.count; ++i) {
        const auto run = wire::Load<wire::MemoryRun>(at);
        at += sizeof(run);
        for (uint64_t b = 0; b < run.size; ++b) changed[run.offset + b] = at[b];
        at += (run.size + 7) / 8 * 8;
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
  size_t seen_ = 0;
};

TEST_F(MemoryTest, WritesLandAndAreNotSentBack) {
  ASSERT_TRUE(Control(wire::Control::kMemoryMapped, 0, kSize));
  ASSERT_TRUE(Write(100, {1, 2, 3}));
  EXPECT_EQ(g_memory[100], 1);
  EXPECT_EQ(g_memory[102], 3);
  memories_.Scan(VK_NULL_HANDLE);
  EXPECT_TRUE(Changed().empty());
}

TEST_F(MemoryTest, OnlyChangedBytesTravelAndOnlyOnce) {
  ASSERT_TRUE(Control(wire::Control::kMemoryMapped, 0, kSize));
  g_memory[5] = 9;
  g_memory[7] = 8;
  g_memory[300'000] = 7;
  memories_.Scan(VK_NULL_HANDLE);
  EXPECT_EQ(Changed(), (std::map<uint64_t, uint8_t>{{5, 9}, {7, 8}, {300'000, 7}}));
  EXPECT_EQ(memories_.changed_bytes(), 3u);
  memories_.Scan(VK_NULL_HANDLE);
  EXPECT_TRUE(Changed().empty());
}

TEST_F(MemoryTest, OnlyMappedRangesAreScanned) {
  ASSERT_TRUE(Control(wire::Control::kMemoryMapped, 1000, 100));
  g_memory[999] = g_memory[1000] = g_memory[1099] = g_memory[1100] = 1;
  memories_.Scan(VK_NULL_HANDLE);
  EXPECT_EQ(Changed(), (std::map<uint64_t, uint8_t>{{1000, 1}, {1099, 1}}));
  ASSERT_TRUE(Control(wire::Control::kMemoryUnmapped, 1000, 100));
  g_memory[1001] = 1;
  memories_.Scan(VK_NULL_HANDLE);
  EXPECT_TRUE(Changed().empty());
  ASSERT_TRUE(Control(wire::Control::kMemoryFetch, 990, 20));
  EXPECT_EQ(Changed(), (std::map<uint64_t, uint8_t>{{999, 1}, {1001, 1}}))
      << "a fetch needs no mapping";
}

TEST_F(MemoryTest, WritesOutsideAreMalformed) {
  EXPECT_FALSE(Write(kSize - 2, {1, 2, 3}));
  EXPECT_FALSE(Write(UINT64_MAX, {1}));
  EXPECT_FALSE(Write(0, {1, 2, 3}, 1000)) << "more announced than there is";
  EXPECT_FALSE(Write(0, {1, 2, 3}, UINT64_MAX));
  EXPECT_FALSE(Control(wire::Control::kMemoryMapped, 1, kSize));
  EXPECT_FALSE(Control(wire::Control::kMemoryFetch, kSize + 1, 0));
  std::string error;
  EXPECT_FALSE(memories_.Execute(wire::Control::kMemoryWrite, std::vector<uint8_t>(8, 0), &error));
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

TEST_F(MemoryTest, FreedMemoryIsLeftAlone) {
  ASSERT_TRUE(Control(wire::Control::kMemoryMapped, 0, kSize));
  memories_.Unregister(kId);
  g_memory[1] = 1;
  memories_.Scan(VK_NULL_HANDLE);
  EXPECT_TRUE(Changed().empty());
  EXPECT_TRUE(Write(0, {1})) << "a late write is no fault of the client";
  EXPECT_EQ(g_memory[0], 0);
}

}  // namespace
}  // namespace vesper::server
