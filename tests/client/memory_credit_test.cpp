// Protects: what fits into the memory that the server keeps for a program is allocated without waiting, the rest asks and gets the
// driver's own code, and nothing is sent unasked that does not fit.
#include "client/overrides/memory_credit.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <vector>

#include "client/base/limits.h"
#include "tests/client/fixture.h"

namespace vesper::client {
namespace {

constexpr uint64_t kSize = 65536;

// A server that keeps what it is asked for, as far as `kept_` goes, and says how far it has come when told to.
class MemoryCreditTest : public ClientFixture {
 protected:
  MemoryCreditTest()
      : ClientFixture([this](ScriptedServer& server, const Received& record) {
          if (record.command == static_cast<uint16_t>(wire::Control::kMemoryCredit)) {
            wire::MemoryCreditRequest request;
            ASSERT_EQ(record.body.size(), sizeof(request));
            std::memcpy(&request, record.body.data(), sizeof(request));
            ++requests_;
            request_ = request.request;
            Tell(server, request.bytes == 0 ? 0 : kept_.load());
          } else if (static_cast<Command>(record.command) == Command::kAllocateMemory && record.sequence == 0) {
            ++taken_;
          } else if (static_cast<Command>(record.command) == Command::kAllocateMemory && full_) {
            const int32_t failure[] = {VK_ERROR_OUT_OF_DEVICE_MEMORY, 0};  // and no handle
            server.Answer(record.sequence, {reinterpret_cast<const uint8_t*>(failure), sizeof(failure)});
          } else {
            AnswerSuccess()(server, record);
          }
        }) {}

  void Tell(ScriptedServer& server, uint64_t bytes) {
    const wire::MemoryCredit told{device_.header.id, 0, request_, bytes, taken_};
    server.SendEvent(wire::EventKind::kMemoryCredit, &told, sizeof(told));
  }
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
  // Whatever was sent has been dealt with, and what the server then says is known.
  void Settle() { ASSERT_TRUE(session_.AskControl(wire::Control::kHeartbeat, nullptr, 0)); }
  uint64_t Trips(uint64_t size = kSize, const void* next = nullptr) {
    const uint64_t before = round_trips();
    EXPECT_EQ(Allocate(size, next), VK_SUCCESS);
    return round_trips() - before;
  }
  // The first allocation asks, and for credit with it.
  void Begin(uint64_t kept) {
    kept_ = kept;
    Trips();
    ASSERT_EQ(requests_, 1u);
  }

  VkDeviceMemory memory_ = VK_NULL_HANDLE;
  std::atomic<uint64_t> kept_{0};
  std::atomic<uint64_t> taken_{0};
  std::atomic<uint32_t> requests_{0};
  std::atomic<uint32_t> request_{0};
  std::atomic<bool> full_{false};
};

TEST_F(MemoryCreditTest, WhatFitsDoesNotWaitAndTheRestAsks) {
  Begin(4 * kSize);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(Trips(), 0u);
  kept_ = 8 * kSize;
  EXPECT_EQ(Trips(), 1u) << "all that is kept may be used up by those before";
  EXPECT_EQ(requests_, 2u) << "more is wanted";
  EXPECT_EQ(Trips(8 * kSize), 0u) << "the server has come to those before, and has it still";
  EXPECT_EQ(Trips(1), 1u);
}

TEST_F(MemoryCreditTest, WhatIsFreedIsLentAgain) {
  Begin(kSize);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(Trips(), 0u);
    Free();
  }
  Settle();
  EXPECT_EQ(RecordsOf(Command::kAllocateMemory), 101u);
}

TEST_F(MemoryCreditTest, OthersAsk) {
  Begin(limits::kMostCredit);
  VkMemoryAllocateFlagsInfo flags{};
  flags.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO;
  flags.flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT;
  EXPECT_EQ(Trips(kSize, &flags), 0u);
  flags.flags = VK_MEMORY_ALLOCATE_DEVICE_MASK_BIT;
  EXPECT_EQ(Trips(kSize, &flags), 1u) << "of several devices";
  VkMemoryDedicatedAllocateInfo dedicated{};
  dedicated.sType = VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO;
  EXPECT_EQ(Trips(kSize, &dedicated), 1u);
  VkExportMemoryAllocateInfo exported{};
  exported.sType = VK_STRUCTURE_TYPE_EXPORT_MEMORY_ALLOCATE_INFO;
  EXPECT_EQ(Trips(kSize, &exported), 1u);
  EXPECT_EQ(Trips(limits::kMostCredit + 1), 1u);
  EXPECT_EQ(Trips(), 0u);
}

TEST_F(MemoryCreditTest, ItIsGivenUpBeforeAnAllocationFails) {
  Begin(4 * kSize);
  full_ = true;
  EXPECT_EQ(Allocate(5 * kSize), VK_ERROR_OUT_OF_DEVICE_MEMORY);
  EXPECT_EQ(requests_, 3u) << "more was asked for, then all of it given back";
  EXPECT_EQ(Allocate(), VK_ERROR_OUT_OF_DEVICE_MEMORY) << "nothing is left that could be taken unasked";
  EXPECT_EQ(requests_, 3u) << "nor asked for while memory is short";
  full_ = false;
  memory_ = HandleOf<VkDeviceMemory>(NewId(HandleType::kDeviceMemory));
  device_.memory_credit.Allocated();
  Free();
  EXPECT_EQ(Trips(), 1u);
  EXPECT_EQ(requests_, 4u);
  EXPECT_EQ(Trips(), 0u);
}

TEST_F(MemoryCreditTest, AllocationsAreCounted) {
  device_.most_allocations = VK_MAX_MEMORY_HEAPS + 3;
  Begin(limits::kMostCredit);
  EXPECT_EQ(Trips(), 0u);
  EXPECT_EQ(Trips(), 0u);
  EXPECT_EQ(Trips(), 1u) << "the driver is to say whether it is too many";
  Free();
  Free();
  EXPECT_EQ(Trips(), 0u);
}

TEST_F(MemoryCreditTest, WhatTheServerSaysOfAnOlderRequestIsNotBelieved) {
  Begin(4 * kSize);
  const uint32_t last = request_;
  request_ = last - 1;
  Tell(server_, limits::kMostCredit);
  request_ = last;
  Settle();
  EXPECT_EQ(Trips(5 * kSize), 1u);
}

}  // namespace
}  // namespace vesper::client
