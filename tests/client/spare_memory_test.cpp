// Protects: a program that allocates alike again and again does not wait for it, and gets what it would without spare memory.
#include "client/overrides/spare_memory.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

#include "client/base/limits.h"
#include "tests/client/fixture.h"

namespace vesper::client {
namespace {

constexpr uint64_t kSize = 65536;

// Allocates while `room_` is not used up.
class SpareMemoryTest : public ClientFixture {
 protected:
  SpareMemoryTest()
      : ClientFixture([this](ScriptedServer& server, const Received& record) {
          const auto command = static_cast<Command>(record.command);
          if (command == Command::kFreeMemory) ++room_;
          if (command != Command::kAllocateMemory) return AnswerSuccess()(server, record);
          if (room_ != 0) {
            --room_;
            return AnswerSuccess()(server, record);
          }
          const int32_t failure[] = {VK_ERROR_OUT_OF_DEVICE_MEMORY, 0};  // and no handle
          server.Answer(record.sequence, {reinterpret_cast<const uint8_t*>(failure), sizeof(failure)});
        }) {}

  VkResult Allocate(uint64_t size = kSize, const void* next = nullptr) {
    VkMemoryAllocateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
    info.pNext = next;
    info.allocationSize = size;
    const VkResult result = overrides::AllocateMemory(device(), &info, nullptr, &memory_);
    EXPECT_EQ(result == VK_SUCCESS, memory_ != VK_NULL_HANDLE);
    return result;
  }
  void Free() { overrides::FreeMemory(device(), memory_, nullptr); }
  // Whatever was asked for has been answered.
  void Settle() { ASSERT_TRUE(session_.AskControl(wire::Control::kHeartbeat, nullptr, 0)); }
  // How many round trips it takes.
  uint64_t Trips(uint64_t size = kSize, const void* next = nullptr) {
    const uint64_t before = round_trips();
    EXPECT_EQ(Allocate(size, next), VK_SUCCESS);
    return round_trips() - before;
  }
  // Allocates as often as it takes until more is allocated ahead.
  void Begin() {
    for (uint32_t i = 0; i < limits::kAlikeAllocations; ++i) EXPECT_EQ(Trips(), 1u);
    Settle();
  }

  VkDeviceMemory memory_ = VK_NULL_HANDLE;
  std::atomic<int> room_{1000};
};

TEST_F(SpareMemoryTest, AllocationsAlikeDoNotWait) {
  Begin();
  std::vector<VkDeviceMemory> seen;
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(Trips(), 0u);
    EXPECT_EQ(std::count(seen.begin(), seen.end(), memory_), 0) << "each is another one";
    seen.push_back(memory_);
    if (i % 2 == 0) Free();
  }
}

TEST_F(SpareMemoryTest, OthersDo) {
  Begin();
  EXPECT_EQ(Trips(kSize + 1), 1u);
  VkMemoryAllocateFlagsInfo flags{};
  flags.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO;
  flags.flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT;
  EXPECT_EQ(Trips(kSize, &flags), 1u);
  VkMemoryDedicatedAllocateInfo dedicated{};
  dedicated.sType = VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO;
  for (uint32_t i = 0; i < 2 * limits::kAlikeAllocations; ++i) {
    EXPECT_EQ(Trips(kSize, &dedicated), 1u) << "that is for one resource alone";
    EXPECT_EQ(Trips(limits::kMaxSpareMemory + 1), 1u) << "nor what is large";
  }
  EXPECT_EQ(Trips(), 0u);
}

TEST_F(SpareMemoryTest, ItIsGivenBackBeforeAnAllocationFails) {
  Begin();
  const size_t asked = RecordsOf(Command::kAllocateMemory);
  EXPECT_EQ(asked, limits::kAlikeAllocations + limits::kFewestSpares);
  room_ = 0;
  EXPECT_EQ(Allocate(4096), VK_SUCCESS);
  EXPECT_EQ(RecordsOf(Command::kFreeMemory), limits::kFewestSpares);
  EXPECT_EQ(Allocate(), VK_SUCCESS) << "as many as without it";
  EXPECT_EQ(Allocate(), VK_ERROR_OUT_OF_DEVICE_MEMORY);
}

TEST_F(SpareMemoryTest, WhatCouldNotBeAllocatedAheadIsToldToWhoWantsIt) {
  Begin();
  room_ = 0;
  for (uint32_t i = 0; i < limits::kFewestSpares; ++i) EXPECT_EQ(Trips(), 0u) << "it is there";
  Settle();
  EXPECT_EQ(Allocate(), VK_ERROR_OUT_OF_DEVICE_MEMORY);
  room_ = 1;
  EXPECT_EQ(Allocate(), VK_SUCCESS);
}

TEST_F(SpareMemoryTest, ItIsBounded) {
  std::vector<uint64_t> sizes;
  for (uint64_t i = 0; i < 2 * limits::kSpareKinds; ++i) sizes.push_back(limits::kMaxSpareMemory - i);
  for (uint32_t n = 0; n < 100; ++n) {
    for (const uint64_t size : sizes) {
      EXPECT_EQ(Allocate(size), VK_SUCCESS);
      Free();
    }
    const MutexLock lock(device_.spare_memory.mutex);
    ASSERT_LE(device_.spare_memory.bytes, limits::kSpareMemory);
    ASSERT_LE(device_.spare_memory.kinds.size(), limits::kSpareKinds);
  }
}

TEST_F(SpareMemoryTest, ItGoesWithTheDevice) {
  Begin();
  EXPECT_TRUE(FreeSpareMemory(&device_));
  Settle();
  EXPECT_EQ(RecordsOf(Command::kFreeMemory), limits::kFewestSpares);
  EXPECT_FALSE(FreeSpareMemory(&device_));
}

}  // namespace
}  // namespace vesper::client
