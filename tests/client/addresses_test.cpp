// Protects: the address of a buffer or an acceleration structure is asked for once, together with those of all others, and is
// forgotten with the object.
#include <gtest/gtest.h>

#include <atomic>
#include <vector>

#include "tests/client/fixture.h"

namespace vesper::client {
namespace {

constexpr uint64_t kFirstAddress = 0x10000;

// Numbers the addresses that it tells in the order of questions; none while `inert`.
class AddressesTest : public ClientFixture {
 protected:
  AddressesTest()
      : ClientFixture([this](ScriptedServer& server, const Received& record) {
          if (record.sequence == 0) return;
          const auto command = static_cast<Command>(record.command);
          if (command != Command::kGetBufferDeviceAddress && command != Command::kGetBufferOpaqueCaptureAddress &&
              command != Command::kGetAccelerationStructureDeviceAddressKHR) {
            AnswerSuccess()(server, record);
          } else if (inert_) {
            server.AnswerInert(record.sequence);
          } else {
            const uint64_t address = kFirstAddress + told_++;
            server.Answer(record.sequence, {reinterpret_cast<const uint8_t*>(&address), sizeof(address)});
          }
        }) {}

  VkBuffer NewBuffer(VkBufferUsageFlags usage = VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT,
                     VkBufferCreateFlags flags = 0) {
    VkBufferCreateInfo info{};
    info.flags = flags;
    info.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO;
    info.size = 16;
    info.usage = usage;
    VkBuffer buffer = VK_NULL_HANDLE;
    EXPECT_EQ(overrides::CreateBuffer(device(), &info, nullptr, &buffer), VK_SUCCESS);
    return buffer;
  }
  VkBuffer NewBoundBuffer() {
    VkBuffer buffer = NewBuffer();
    EXPECT_EQ(overrides::BindBufferMemory(device(), buffer, VK_NULL_HANDLE, 0), VK_SUCCESS);
    return buffer;
  }
  VkDeviceAddress AddressOf(VkBuffer buffer) {
    VkBufferDeviceAddressInfo info{};
    info.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO;
    info.buffer = buffer;
    return overrides::GetBufferDeviceAddress(device(), &info);
  }
  size_t Questions() { return RecordsOf(Command::kGetBufferDeviceAddress); }

  std::atomic<bool> inert_{false};
  std::atomic<uint64_t> told_{0};
};

TEST_F(AddressesTest, OneTripBringsThoseOfAllBuffersMadeBefore) {
  std::vector<VkBuffer> buffers;
  for (int i = 0; i < 1000; ++i) buffers.push_back(NewBoundBuffer());
  NewBuffer(VK_BUFFER_USAGE_TRANSFER_DST_BIT);
  session_.connection().Flush();
  EXPECT_EQ(Questions(), 0u) << "who does not ask pays nothing";
  std::vector<VkDeviceAddress> addresses;
  for (const VkBuffer buffer : buffers) addresses.push_back(AddressOf(buffer));
  EXPECT_EQ(round_trips(), 1u);
  EXPECT_EQ(Questions(), 1000u);
  std::sort(addresses.begin(), addresses.end());
  for (uint64_t i = 0; i < 1000; ++i) ASSERT_EQ(addresses[i], kFirstAddress + i) << "each has its own";
  for (const VkBuffer buffer : buffers) AddressOf(buffer);
  EXPECT_EQ(round_trips(), 1u);
  EXPECT_EQ(Questions(), 1000u);
}

TEST_F(AddressesTest, WhoHasAskedIsToldAheadFromThenOn) {
  AddressOf(NewBoundBuffer());
  const VkBuffer next = NewBoundBuffer();
  session_.connection().Flush();
  ASSERT_TRUE(server_.AwaitRecords(static_cast<uint16_t>(Command::kGetBufferDeviceAddress), 2));
  ASSERT_TRUE(session_.AskControl(wire::Control::kHeartbeat, nullptr, 0));  // the answer came before this one's
  const uint64_t before = round_trips();
  EXPECT_EQ(AddressOf(next), kFirstAddress + 1);
  EXPECT_EQ(round_trips(), before);
}

TEST_F(AddressesTest, SparseBuffersHaveOneFromTheStart) {
  constexpr VkBufferUsageFlags kAddress = VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT;
  const VkBuffer first = NewBuffer(kAddress, VK_BUFFER_CREATE_SPARSE_BINDING_BIT);
  const VkBuffer second = NewBuffer(kAddress, VK_BUFFER_CREATE_SPARSE_BINDING_BIT);
  EXPECT_NE(AddressOf(first), AddressOf(second));
  EXPECT_EQ(round_trips(), 1u);
}

TEST_F(AddressesTest, ItIsForgottenWithTheBuffer) {
  const VkBuffer first = NewBoundBuffer();
  EXPECT_EQ(AddressOf(first), kFirstAddress);
  overrides::DestroyBuffer(device(), first, nullptr);
  const VkBuffer second = NewBoundBuffer();
  ASSERT_EQ(SlotOf(IdOf(first)), SlotOf(IdOf(second)));
  EXPECT_EQ(AddressOf(second), kFirstAddress + 1);
}

TEST_F(AddressesTest, NothingIsAskedAboutDestroyedBuffers) {
  const VkBuffer first = NewBoundBuffer();
  overrides::DestroyBuffer(device(), NewBoundBuffer(), nullptr);
  AddressOf(first);
  EXPECT_EQ(Questions(), 1u);
}

TEST_F(AddressesTest, WhatFailsIsNotRemembered) {
  const VkBuffer buffer = NewBoundBuffer();
  inert_ = true;
  EXPECT_EQ(AddressOf(buffer), 0u);
  inert_ = false;
  device_.lost = true;  // as by a bind that failed
  EXPECT_NE(AddressOf(buffer), 0u);
  EXPECT_NE(AddressOf(buffer), 0u);
  EXPECT_EQ(round_trips(), 3u);
}

TEST_F(AddressesTest, OfALostSessionAreThoseThatAreKnown) {
  const VkBuffer other = NewBuffer();
  const VkBuffer known = NewBoundBuffer();
  EXPECT_EQ(AddressOf(known), kFirstAddress);
  session_.MarkLost("test");
  EXPECT_EQ(AddressOf(other), 0u);
  EXPECT_EQ(AddressOf(known), kFirstAddress);
}

TEST_F(AddressesTest, CaptureAddressesAreAskedForOnce) {
  VkBufferDeviceAddressInfo info{};
  info.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO;
  info.buffer = NewBoundBuffer();
  for (int i = 0; i < 2; ++i) EXPECT_EQ(overrides::GetBufferOpaqueCaptureAddress(device(), &info), kFirstAddress);
  EXPECT_EQ(round_trips(), 1u);
}

TEST_F(AddressesTest, AccelerationStructuresAlike) {
  std::vector<VkAccelerationStructureKHR> structures(3);
  for (VkAccelerationStructureKHR& structure : structures) {
    VkAccelerationStructureCreateInfoKHR info{};
    info.sType = VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_CREATE_INFO_KHR;
    info.buffer = NewBoundBuffer();
    ASSERT_EQ(overrides::CreateAccelerationStructureKHR(device(), &info, nullptr, &structure), VK_SUCCESS);
  }
  std::vector<VkDeviceAddress> addresses;
  for (const VkAccelerationStructureKHR structure : structures) {
    VkAccelerationStructureDeviceAddressInfoKHR info{};
    info.sType = VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_DEVICE_ADDRESS_INFO_KHR;
    info.accelerationStructure = structure;
    addresses.push_back(overrides::GetAccelerationStructureDeviceAddressKHR(device(), &info));
    EXPECT_EQ(overrides::GetAccelerationStructureDeviceAddressKHR(device(), &info), addresses.back());
    EXPECT_NE(addresses.back(), 0u);
  }
  EXPECT_EQ(round_trips(), 1u);
  EXPECT_EQ(Questions(), 0u) << "nothing was asked about the buffers";
  for (const VkAccelerationStructureKHR structure : structures) {
    overrides::DestroyAccelerationStructureKHR(device(), structure, nullptr);
  }
}

}  // namespace
}  // namespace vesper::client
