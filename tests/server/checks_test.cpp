// Protects a driver from what a client claims: sizes and indices are compared with the objects, and what is of extensions
// that nobody enabled is not executed. Each attack ends its own session, with the command and the members in the reason.
#include "server/checks/checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "server/checks/formats.h"
#include "server/device/external.h"
#include "tests/server/test_client.h"

namespace vesper::server {
namespace {

using testing::HasSubstr;

class ChecksTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    PrepareDriverEnvironment();
    std::string error;
    driver_ = Driver::Load({.validation = false, .gpu = "llvmpipe"}, &error);
    ASSERT_NE(driver_, nullptr) << error;
  }
  static void TearDownTestSuite() { driver_.reset(); }

  // Why the session ended of which `attack` is the last that it executes.
  std::string EndAfter(const std::function<void(TestDevice&)>& attack) {
    TestClient client(driver_.get());
    TestDevice device(&client);
    attack(device);
    client.Flush();
    return client.Join();
  }

  static std::unique_ptr<Driver> driver_;
};

std::unique_ptr<Driver> ChecksTest::driver_;

VkQueryPool MakeQueries(TestDevice& device, uint32_t count) {
  VkQueryPoolCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO;
  info.queryType = VK_QUERY_TYPE_TIMESTAMP;
  info.queryCount = count;
  auto pool = device.client->New<VkQueryPool>(HandleType::kQueryPool);
  wire::CreateQueryPoolArgs args{};
  args.device = device.device;
  args.pCreateInfo = &info;
  args.pQueryPool = &pool;
  device.client->Post(Command::kCreateQueryPool, &args);
  return pool;
}

VkBuffer MakeBuffer(TestDevice& device, VkDeviceSize size) {
  return device.Buffer(size, device.Allocate(std::max<VkDeviceSize>(size, 4096)), 0);
}

void AskForResults(TestDevice& device, uint32_t first, uint32_t count, VkDeviceSize stride, size_t size) {
  std::vector<uint8_t> room(size);
  wire::GetQueryPoolResultsArgs args{};
  args.device = device.device;
  args.queryPool = MakeQueries(device, 64);
  args.firstQuery = first;
  args.queryCount = count;
  args.dataSize = size;
  args.pData = room.data();
  args.stride = stride;
  args.flags = VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WITH_AVAILABILITY_BIT;
  device.client->Post(Command::kGetQueryPoolResults, &args);
}

TEST_F(ChecksTest, QueriesLieWithinTheirPoolAndResultsWithinTheirRoom) {
  EXPECT_THAT(EndAfter([](auto& d) { AskForResults(d, 0, 65, 16, 4096); }),
              HasSubstr("vkGetQueryPoolResults: firstQuery"));
  EXPECT_THAT(EndAfter([](auto& d) { AskForResults(d, UINT32_MAX, 2, 16, 4096); }), HasSubstr("firstQuery queryCount"));
  EXPECT_THAT(EndAfter([](auto& d) { AskForResults(d, 0, 64, 16, 1008); }), HasSubstr("stride dataSize"));
  EXPECT_THAT(EndAfter([](auto& d) { AskForResults(d, 0, 2, VkDeviceSize{1} << 63, 64); }),
              HasSubstr("stride dataSize"));
  const std::string reset = EndAfter([](TestDevice& d) {
    wire::CmdResetQueryPoolArgs args{};
    args.commandBuffer = d.Begin();
    args.queryPool = MakeQueries(d, 8);
    args.firstQuery = 4;
    args.queryCount = 5;
    d.client->Post(Command::kCmdResetQueryPool, &args);
  });
  EXPECT_THAT(reset, HasSubstr("malformed: vkCmdResetQueryPool: firstQuery queryCount"));
}

TEST_F(ChecksTest, ArraysAreThereWhenTheyAreCounted) {
  const std::string freed = EndAfter([](TestDevice& d) {
    wire::FreeDescriptorSetsArgs args{};
    args.device = d.device;
    args.descriptorSetCount = UINT32_MAX;
    d.client->Post(Command::kFreeDescriptorSets, &args);
  });
  EXPECT_THAT(freed, HasSubstr("malformed: vkFreeDescriptorSets: pDescriptorSets"));
}

TEST_F(ChecksTest, RangesLieWithinTheirBuffers) {
  const auto fill = [](VkDeviceSize offset, VkDeviceSize size) {
    return [=](TestDevice& d) {
      wire::CmdFillBufferArgs args{};
      args.commandBuffer = d.Begin();
      args.dstBuffer = MakeBuffer(d, 1024);
      args.dstOffset = offset;
      args.size = size;
      d.client->Post(Command::kCmdFillBuffer, &args);
    };
  };
  EXPECT_THAT(EndAfter(fill(0, 1028)), HasSubstr("vkCmdFillBuffer: dstOffset size"));
  EXPECT_THAT(EndAfter(fill(1028, VK_WHOLE_SIZE)), HasSubstr("dstOffset size"));
  EXPECT_THAT(EndAfter(fill(16, UINT64_MAX - 7)), HasSubstr("dstOffset size"));
  const std::string copy = EndAfter([](TestDevice& d) {
    const VkBufferCopy regions[] = {{0, 0, 1024}, {512, 0, 513}};
    wire::CmdCopyBufferArgs args{};
    args.commandBuffer = d.Begin();
    args.srcBuffer = MakeBuffer(d, 1024);
    args.dstBuffer = MakeBuffer(d, 2048);
    args.regionCount = 2;
    args.pRegions = regions;
    d.client->Post(Command::kCmdCopyBuffer, &args);
  });
  EXPECT_THAT(copy, HasSubstr("vkCmdCopyBuffer: srcOffset size"));
}

TEST_F(ChecksTest, ABufferLiesWithinItsMemory) {
  EXPECT_THAT(EndAfter([](TestDevice& d) { d.Buffer(8192, d.Allocate(4096), 0); }),
              HasSubstr("vkBindBufferMemory: memoryOffset"));
  EXPECT_THAT(EndAfter([](TestDevice& d) { d.Buffer(64, d.Allocate(4096), 4096); }), HasSubstr("memoryOffset"));
}

TEST_F(ChecksTest, IndicesAreOfWhatTheDeviceHas) {
  const std::string type = EndAfter([](TestDevice& d) {
    d.memory_type = 1u << 20;
    VkMemoryAllocateInfo info{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, nullptr, 4096, 1u << 20};
    auto memory = d.client->New<VkDeviceMemory>(HandleType::kDeviceMemory);
    wire::AllocateMemoryArgs args{};
    args.device = d.device;
    args.pAllocateInfo = &info;
    args.pMemory = &memory;
    d.client->Post(Command::kAllocateMemory, &args);
  });
  EXPECT_THAT(type, HasSubstr("vkAllocateMemory: pAllocateInfo->memoryTypeIndex"));
  const std::string push = EndAfter([](TestDevice& d) {
    std::vector<uint8_t> values(64);
    wire::CmdPushConstantsArgs args{};
    args.commandBuffer = d.Begin();
    args.offset = 1u << 28;
    args.size = 64;
    args.pValues = values.data();
    d.client->Post(Command::kCmdPushConstants, &args);
  });
  EXPECT_THAT(push, HasSubstr("vkCmdPushConstants: offset size"));
}

VkDescriptorSet MakeSet(TestDevice& d, uint32_t count) { return d.Set(d.SetLayout(2, count), count); }

void Write(TestDevice& d, uint32_t binding, uint32_t element, uint32_t count, VkDeviceSize range) {
  const std::vector<VkDescriptorBufferInfo> infos(count, {MakeBuffer(d, 1024), 0, range});
  VkWriteDescriptorSet write{};
  write.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET;
  write.dstSet = MakeSet(d, 4);
  write.dstBinding = binding;
  write.dstArrayElement = element;
  write.descriptorCount = count;
  write.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
  write.pBufferInfo = infos.data();
  wire::UpdateDescriptorSetsArgs args{};
  args.device = d.device;
  args.descriptorWriteCount = 1;
  args.pDescriptorWrites = &write;
  d.client->Post(Command::kUpdateDescriptorSets, &args);
}

TEST_F(ChecksTest, DescriptorsLieWithinTheirSet) {
  EXPECT_THAT(EndAfter([](TestDevice& d) { Write(d, 100, 0, 1, 64); }),
              HasSubstr("vkUpdateDescriptorSets: dstBinding"));
  EXPECT_THAT(EndAfter([](TestDevice& d) { Write(d, 2, 1, 4, 64); }), HasSubstr("descriptorCount"));
  EXPECT_THAT(EndAfter([](TestDevice& d) { Write(d, 2, 0, 4, 1025); }), HasSubstr("offset range"));
  TestClient client(driver_.get());
  TestDevice device(&client);
  Write(device, 2, 1, 3, VK_WHOLE_SIZE);  // as it should be
}

TEST_F(ChecksTest, ADispatchWithoutAPipelineIsLeftOut) {
  TestClient client(driver_.get());
  TestDevice device(&client);
  const VkCommandBuffer commands = device.Begin();
  wire::CmdDispatchArgs args{commands, 1, 1, 1};
  client.Post(Command::kCmdDispatch, &args);
  device.Submit(commands, VK_NULL_HANDLE);
  client.WaitFor(wire::EventKind::kCompleted);
  EXPECT_EQ(client.session().stats().inert, 1u);
}

// A driver of the program's own machine would let it live as well.
TEST_F(ChecksTest, DispatchesBeyondTheDevicesLimitsAreLeftOut) {
  const auto said_of = [&](Command command, const auto& make) {
    testing::internal::CaptureStdout();
    {
      TestClient client(driver_.get());
      TestDevice device(&client);
      const VkCommandBuffer commands = device.Begin();
      auto args = make(commands);
      client.Post(command, &args);
      device.Submit(commands, VK_NULL_HANDLE);
      client.WaitFor(wire::EventKind::kCompleted);
      EXPECT_EQ(client.session().stats().inert, 1u);
    }
    return testing::internal::GetCapturedStdout();
  };
  const auto dispatch = [&](uint32_t x, uint32_t y, uint32_t z) {
    return said_of(Command::kCmdDispatch, [=](auto commands) { return wire::CmdDispatchArgs{commands, x, y, z}; });
  };
  const char* const too_many = "not executed: it has more work groups";
  EXPECT_THAT(dispatch(1, 1, 1), testing::Not(HasSubstr(too_many)));  // it lacks its pipeline alone
  EXPECT_THAT(dispatch(UINT32_MAX, 1, 1), HasSubstr(too_many));
  EXPECT_THAT(dispatch(1, UINT32_MAX, 1), HasSubstr(too_many));
  EXPECT_THAT(dispatch(1, 1, UINT32_MAX), HasSubstr(too_many));
  EXPECT_THAT(said_of(Command::kCmdDispatchBase,
                      [](auto commands) { return wire::CmdDispatchBaseArgs{commands, 1, 0, 0, UINT32_MAX, 1, 1}; }),
              HasSubstr(too_many));
}

// No driver at hand has any: one that needs 100 bytes for each primitive.
TEST(AccelerationStructures, AreBuiltOfWhatIsThereAndWithinTheirRoom) {
  DispatchContext context;
  context.table.GetAccelerationStructureBuildSizesKHR =
      [](VkDevice, VkAccelerationStructureBuildTypeKHR, const VkAccelerationStructureBuildGeometryInfoKHR* info,
         const uint32_t* primitives, VkAccelerationStructureBuildSizesInfoKHR* sizes) {
        for (uint32_t i = 0; i < info->geometryCount; ++i) sizes->accelerationStructureSize += 100 * primitives[i];
      };
  uint64_t place = 0;
  VkAccelerationStructureKHR structure;
  const uint64_t* const pointer = &place;
  std::memcpy(&structure, &pointer, sizeof(structure));
  Facts facts;
  facts.size = 1000;
  NamedFacts named;
  named.Add(HandleType::kAccelerationStructureKHR, RawHandle(structure), 1, &facts);

  VkAccelerationStructureGeometryKHR geometries[2]{};
  VkAccelerationStructureBuildGeometryInfoKHR info{};
  info.type = VK_ACCELERATION_STRUCTURE_TYPE_BOTTOM_LEVEL_KHR;
  info.dstAccelerationStructure = structure;
  info.geometryCount = 2;
  info.pGeometries = geometries;
  VkAccelerationStructureBuildRangeInfoKHR ranges[2]{{5, 0, 0, 0}, {5, 0, 0, 0}};
  const VkAccelerationStructureBuildRangeInfoKHR* rows[] = {ranges};
  const auto found = [&] {
    Checker checker(named, &context);
    checks::Builds(checker, wire::CmdBuildAccelerationStructuresKHRArgs{VK_NULL_HANDLE, 1, &info, rows});
    const Finding& finding = checker.finding();
    return std::string(finding.members != nullptr ? finding.members : finding.left_out != nullptr ? "left out" : "");
  };
  EXPECT_EQ(found(), "");
  ranges[1].primitiveCount = 6;
  EXPECT_EQ(found(), "dstAccelerationStructure");
  info.mode = VK_BUILD_ACCELERATION_STRUCTURE_MODE_UPDATE_KHR;  // of something that was compacted
  EXPECT_EQ(found(), "left out");
  info.srcAccelerationStructure = structure;
  EXPECT_EQ(found(), "");
  geometries[1].geometryType = VK_GEOMETRY_TYPE_AABBS_KHR;
  EXPECT_EQ(found(), "geometryType");
  geometries[0].geometryType = geometries[1].geometryType = VK_GEOMETRY_TYPE_INSTANCES_KHR;
  EXPECT_EQ(found(), "geometryType");
  info.type = VK_ACCELERATION_STRUCTURE_TYPE_TOP_LEVEL_KHR;
  EXPECT_EQ(found(), "geometryCount");
  info.geometryCount = 1;
  EXPECT_EQ(found(), "");
  info.dstAccelerationStructure = VK_NULL_HANDLE;
  EXPECT_EQ(found(), "left out");
  info.pGeometries = nullptr;
  EXPECT_EQ(found(), "pGeometries ppGeometries");
}

TEST_F(ChecksTest, WhatNobodyIsOfferedIsNotExecuted) {
  const std::string import = EndAfter([](TestDevice& d) {
    VkImportMemoryFdInfoKHR fd{};
    fd.sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_FD_INFO_KHR;
    fd.handleType = VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT;
    fd.fd = 2;
    const VkMemoryAllocateInfo info{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, &fd, 4096, 0};
    auto memory = d.client->New<VkDeviceMemory>(HandleType::kDeviceMemory);
    wire::AllocateMemoryArgs args{};
    args.device = d.device;
    args.pAllocateInfo = &info;
    args.pMemory = &memory;
    d.client->Post(Command::kAllocateMemory, &args);
  });
  EXPECT_THAT(import, HasSubstr("vkAllocateMemory: VkImportMemoryFdInfoKHR is of no extension that is offered"));
  const std::string get = EndAfter([](TestDevice& d) {
    const VkMemoryGetFdInfoKHR info{VK_STRUCTURE_TYPE_MEMORY_GET_FD_INFO_KHR, nullptr, d.Allocate(4096),
                                    VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT};
    int fd = -1;
    wire::GetMemoryFdKHRArgs args{};
    args.device = d.device;
    args.pGetFdInfo = &info;
    args.pFd = &fd;
    d.client->Post(Command::kGetMemoryFdKHR, &args);
  });
  EXPECT_THAT(get, HasSubstr("vkGetMemoryFdKHR is of no extension that is offered"));
}

TEST_F(ChecksTest, WhatWasNotEnabledIsNotExecuted) {
  const std::string end = EndAfter([](TestDevice& d) {
    wire::CmdDrawMultiEXTArgs args{};
    args.commandBuffer = d.Begin();
    d.client->Post(Command::kCmdDrawMultiEXT, &args);
  });
  EXPECT_THAT(end, HasSubstr("vkCmdDrawMultiEXT is of an extension that was not enabled"));
}

TEST_F(ChecksTest, HandlesThatNobodyHandsOutCanDoNothing) {
  TestClient client(driver_.get());
  TestDevice device(&client);
  const VkPhysicalDeviceExternalBufferInfo info{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_BUFFER_INFO, nullptr, 0,
                                                VK_BUFFER_USAGE_TRANSFER_SRC_BIT,
                                                VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT};
  VkExternalBufferProperties properties{};
  properties.sType = VK_STRUCTURE_TYPE_EXTERNAL_BUFFER_PROPERTIES;
  wire::GetPhysicalDeviceExternalBufferPropertiesArgs args{device.physical_device, &info, &properties};
  ASSERT_EQ(client.Ask(Command::kGetPhysicalDeviceExternalBufferProperties, &args), wire::ReplyKind::kAnswer);
  EXPECT_EQ(properties.externalMemoryProperties.externalMemoryFeatures, 0u);
  EXPECT_EQ(properties.externalMemoryProperties.compatibleHandleTypes, 0u);
}

TEST(Formats, BytesOfARegionReachToItsLastBlock) {
  const auto rgba = checks::BlockOf(VK_FORMAT_R8G8B8A8_UNORM, VK_IMAGE_ASPECT_COLOR_BIT);
  EXPECT_EQ(checks::BytesOf(rgba, 0, 0, {4, 3, 1}, 1), 48u);
  EXPECT_EQ(checks::BytesOf(rgba, 8, 4, {4, 3, 1}, 2), (4u * 8 + 2 * 8 + 4) * 4);
  const auto bc1 = checks::BlockOf(VK_FORMAT_BC1_RGB_UNORM_BLOCK, VK_IMAGE_ASPECT_COLOR_BIT);
  EXPECT_EQ(checks::BytesOf(bc1, 0, 0, {5, 5, 1}, 1), 4u * 8);
  EXPECT_EQ(checks::BytesOf(rgba, UINT32_MAX, UINT32_MAX, {1, UINT32_MAX, UINT32_MAX}, UINT32_MAX), UINT64_MAX);
  EXPECT_EQ(checks::BlockOf(VK_FORMAT_D24_UNORM_S8_UINT, VK_IMAGE_ASPECT_STENCIL_BIT).bytes, 1u);
  EXPECT_EQ(checks::BlockOf(VK_FORMAT_ASTC_12x12_UNORM_BLOCK, VK_IMAGE_ASPECT_COLOR_BIT).width, 12u);
}

}  // namespace
}  // namespace vesper::server
