// Protects: what a client was told it may allocate without asking can be allocated although the driver has nothing left, and what
// made way comes back when memory is freed.
#include "server/device/memory_reserve.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "runtime/wire/record.h"
#include "server/base/limits.h"
#include "server/channel/events.h"
#include "server/channel/outbox.h"
#include "tests/server/recording_channel.h"

namespace vesper::server {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

// A driver with a heap, of which others may have taken something.
struct SmallDriver {
  uint64_t room = 64 * kMiB;
  std::map<VkDeviceMemory, uint64_t> memories;
  uint64_t next = 1;
};
SmallDriver* g_driver = nullptr;

VKAPI_ATTR VkResult VKAPI_CALL AllocateMemory(VkDevice, const VkMemoryAllocateInfo* info, const VkAllocationCallbacks*,
                                              VkDeviceMemory* memory) {
  if (info->allocationSize > g_driver->room) return VK_ERROR_OUT_OF_DEVICE_MEMORY;
  g_driver->room -= info->allocationSize;
  std::memcpy(memory, &g_driver->next, sizeof(*memory));
  ++g_driver->next;
  g_driver->memories[*memory] = info->allocationSize;
  return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL FreeMemory(VkDevice, VkDeviceMemory memory, const VkAllocationCallbacks*) {
  ASSERT_EQ(g_driver->memories.count(memory), 1u);
  g_driver->room += g_driver->memories[memory];
  g_driver->memories.erase(memory);
}

class MemoryReserveTest : public testing::Test {
 protected:
  MemoryReserveTest() {
    g_driver = &driver_;
    table_.AllocateMemory = AllocateMemory;
    table_.FreeMemory = FreeMemory;
    properties_.memoryTypeCount = properties_.memoryHeapCount = 1;
    properties_.memoryHeaps[0].size = limits::kReserveShare * 64 * kMiB;
  }
  ~MemoryReserveTest() override {
    reserve_.Drop();
    g_driver = nullptr;
  }

  void Keep(uint64_t bytes) { reserve_.Keep({.device = 7, .type = 0, .request = ++request_, .bytes = bytes}); }
  VkResult Allocate(uint64_t bytes, uint32_t type = 0) {
    VkMemoryAllocateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
    info.allocationSize = bytes;
    info.memoryTypeIndex = type;
    return reserve_.Allocate(info, &memory_);
  }
  void Free() {
    FreeMemory(VK_NULL_HANDLE, memory_, nullptr);
    reserve_.Freed();
  }

  SmallDriver driver_;
  vk::DispatchTable table_{};
  VkPhysicalDeviceMemoryProperties properties_{};
  RecordingChannel channel_;
  Outbox outbox_{&channel_};
  Events events_{&outbox_};
  MemoryReserve reserve_{
      {.table = &table_, .device = VK_NULL_HANDLE, .id = 7, .memory = &properties_, .events = &events_}};
  VkDeviceMemory memory_ = VK_NULL_HANDLE;
  uint32_t request_ = 0;
};

TEST_F(MemoryReserveTest, WhatIsKeptMakesWay) {
  Keep(16 * kMiB);
  EXPECT_EQ(reserve_.Kept(0), 16 * kMiB);
  EXPECT_EQ(driver_.room, 48 * kMiB);
  driver_.room = 0;  // others have taken it
  EXPECT_EQ(Allocate(4 * kMiB), VK_SUCCESS);
  EXPECT_EQ(reserve_.Kept(0), 12 * kMiB);
  EXPECT_EQ(Allocate(12 * kMiB), VK_SUCCESS) << "all of it";
  EXPECT_EQ(reserve_.Kept(0), 0u);
  EXPECT_EQ(Allocate(1), VK_ERROR_OUT_OF_DEVICE_MEMORY);
}

TEST_F(MemoryReserveTest, WhatMadeWayComesBack) {
  Keep(16 * kMiB);
  driver_.room = 0;
  EXPECT_EQ(Allocate(16 * kMiB), VK_SUCCESS);
  EXPECT_EQ(reserve_.Kept(0), 0u);
  Free();
  EXPECT_EQ(reserve_.Kept(0), 16 * kMiB);
  EXPECT_EQ(Allocate(16 * kMiB), VK_SUCCESS) << "so it can be taken again";
}

TEST_F(MemoryReserveTest, ThePartThatIsFreeStaysWhereNotAllComesBack) {
  Keep(16 * kMiB);
  driver_.room = 0;
  EXPECT_EQ(Allocate(8 * kMiB), VK_SUCCESS);
  reserve_.Freed();
  EXPECT_EQ(reserve_.Kept(0), 8 * kMiB);
}

TEST_F(MemoryReserveTest, ItIsBoundedAndGivenBack) {
  Keep(~uint64_t{0});
  EXPECT_EQ(reserve_.Kept(0), limits::kMostReserve);
  Keep(0);
  EXPECT_EQ(driver_.room, 64 * kMiB);
  EXPECT_TRUE(driver_.memories.empty());
  reserve_.Keep({.device = 7, .type = 1, .request = 9, .bytes = kMiB});
  EXPECT_TRUE(driver_.memories.empty()) << "there is no such type";
  EXPECT_EQ(Allocate(1, 1), VK_ERROR_OUT_OF_DEVICE_MEMORY);
}

}  // namespace
}  // namespace vesper::server
