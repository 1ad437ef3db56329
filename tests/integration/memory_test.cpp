// Host memory: maps of all kinds, non-coherent ranges, mappings that stay across submits, and
// exhaustion.
#include <algorithm>
#include <cstring>

#include "shaders/increment_comp.h"
#include "tests/integration/gpu_test.h"

namespace vesper::test {
namespace {

class MemoryTest : public GpuTest {
 protected:
  Owned<VkDeviceMemory> Allocate(VkDeviceSize size, uint32_t type) {
    VkMemoryAllocateInfo info = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO};
    info.allocationSize = size;
    info.memoryTypeIndex = type;
    return Create<VkDeviceMemory>(device(), vkAllocateMemory, vkFreeMemory, info);
  }
  uint32_t HostType() {
    return gpu().FindMemoryType(UINT32_MAX, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT);
  }
};

TEST_F(MemoryTest, MappedAgainAndAgain) {
  const auto memory = Allocate(65536, HostType());
  for (uint32_t round = 0; round < 1000; ++round) {
    void* data = nullptr;
    VK_CHECK(vkMapMemory(device(), memory, 0, VK_WHOLE_SIZE, 0, &data));
    auto* words = static_cast<uint32_t*>(data);
    if (round > 0) {
      ASSERT_EQ(words[round - 1], round - 1);  // what was written before is there
    }
    words[round] = round;
    vkUnmapMemory(device(), memory);
  }
}

TEST_F(MemoryTest, SubRangeMaps) {
  const auto memory = Allocate(65536, HostType());
  for (const VkDeviceSize offset : {0u, 4u, 100u, 4096u, 4100u, 65532u}) {
    void* data = nullptr;
    VK_CHECK(vkMapMemory(device(), memory, offset, std::min<VkDeviceSize>(64, 65536 - offset), 0, &data));
    // pointer - offset is aligned, so that the pointer is as aligned as the offset is.
    const auto alignment = gpu().properties().limits.minMemoryMapAlignment;
    EXPECT_EQ((reinterpret_cast<uintptr_t>(data) - offset) % alignment, 0u) << offset;
    *static_cast<uint32_t*>(data) = static_cast<uint32_t>(offset + 1);
    vkUnmapMemory(device(), memory);
  }
  void* data = nullptr;
  VK_CHECK(vkMapMemory(device(), memory, 0, VK_WHOLE_SIZE, 0, &data));
  for (const uint32_t offset : {0u, 4u, 100u, 4096u, 4100u, 65532u}) {
    uint32_t value = 0;
    std::memcpy(&value, static_cast<char*>(data) + offset, 4);
    EXPECT_EQ(value, offset + 1);
  }
  vkUnmapMemory(device(), memory);
}

TEST_F(MemoryTest, FlushAndInvalidateRanges) {
  const Buffer a = MakeBuffer(gpu(), 65536, VK_BUFFER_USAGE_TRANSFER_SRC_BIT, Placement::kHost);
  const Buffer b = MakeBuffer(gpu(), 65536, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
  const VkDeviceSize atom = gpu().properties().limits.nonCoherentAtomSize;
  for (uint32_t round = 1; round <= 20; ++round) {
    std::ranges::fill(a.As<uint32_t>(), round * 0x01010101);
    VkMappedMemoryRange ranges[2] = {};
    for (auto& range : ranges) range = {VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE};
    ranges[0].memory = ranges[1].memory = a.memory;
    ranges[0].size = atom * 4;
    ranges[1].offset = atom * 4;
    ranges[1].size = VK_WHOLE_SIZE;
    VK_CHECK(vkFlushMappedMemoryRanges(device(), 2, ranges));
    RunCommands(gpu(), [&](VkCommandBuffer commands) {
      const VkBufferCopy whole = {0, 0, 65536};
      vkCmdCopyBuffer(commands, a.handle, b.handle, 1, &whole);
    });
    ranges[0].memory = ranges[1].memory = b.memory;
    VK_CHECK(vkInvalidateMappedMemoryRanges(device(), 2, ranges));
    for (uint32_t word : b.As<uint32_t>()) ASSERT_EQ(word, round * 0x01010101);
  }
}

// The mapping stays; the host writes between submits, the GPU writes during them, both to the same
// buffer.
TEST_F(MemoryTest, PersistentMappingAcrossSubmits) {
  const Buffer data = MakeBuffer(gpu(), 1 << 20, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, Placement::kHost);
  const Buffer* buffers[] = {&data};
  const Kernel kernel = MakeKernel(gpu(), increment_comp, buffers);
  const auto words = data.As<uint32_t>();
  std::ranges::fill(words, 0u);
  std::vector<uint32_t> model(words.size(), 0u);
  for (uint32_t round = 0; round < 30; ++round) {
    for (size_t i = round; i < words.size(); i += 997) words[i] = model[i] = round * 1000;
    RunCommands(gpu(), [&](VkCommandBuffer commands) {
      kernel.Bind(commands);
      vkCmdDispatch(commands, static_cast<uint32_t>(words.size() / 64), 1, 1);
    });
    for (uint32_t& word : model) ++word;
    ASSERT_TRUE(std::ranges::equal(words, model)) << "round " << round;
  }
}

// Freed and allocated again: a new allocation never shows up with another's mapping.
TEST_F(MemoryTest, FreedAndReused) {
  for (uint32_t round = 0; round < 200; ++round) {
    const Buffer a = MakeBuffer(gpu(), 4096 + round * 64, VK_BUFFER_USAGE_TRANSFER_SRC_BIT, Placement::kHost);
    const Buffer b = MakeBuffer(gpu(), 4096 + round * 64, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
    a.As<uint32_t>()[round] = round + 1;
    if (round % 20 != 0) continue;
    RunCommands(gpu(), [&](VkCommandBuffer commands) {
      const VkBufferCopy whole = {0, 0, a.size};
      vkCmdCopyBuffer(commands, a.handle, b.handle, 1, &whole);
    });
    ASSERT_EQ(b.As<uint32_t>()[round], round + 1);
  }
}

// Of a driver on the CPU, whose memory is the server's: what was never written is zeros, and
// nothing that was there before.
TEST_F(MemoryTest, NewMemoryOfTheCpuIsZeros) {
  if (gpu().properties().deviceType != VK_PHYSICAL_DEVICE_TYPE_CPU) {
    GTEST_SKIP() << "a GPU of its own";
  }
  constexpr VkBufferUsageFlags kUsage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT;
  for (const VkDeviceSize size : {1000u, 64u << 10, 256u << 10, 1u << 20, 8u << 20}) {
    {
      const Buffer old = MakeBuffer(gpu(), size, kUsage, Placement::kDevice);
      RunCommands(gpu(), [&](VkCommandBuffer commands) {
        vkCmdFillBuffer(commands, old.handle, 0, VK_WHOLE_SIZE, 0xdeadbeef);
      });
    }
    const Buffer next = MakeBuffer(gpu(), size, kUsage, Placement::kDevice);
    const Buffer seen = MakeBuffer(gpu(), size, kUsage, Placement::kHost);
    RunCommands(gpu(), [&](VkCommandBuffer commands) {
      const VkBufferCopy whole = {0, 0, size};
      vkCmdCopyBuffer(commands, next.handle, seen.handle, 1, &whole);
    });
    const auto words = seen.As<uint32_t>();
    EXPECT_EQ(std::ranges::count_if(words, [](uint32_t word) { return word != 0; }), 0) << size;
  }
}

TEST_F(MemoryTest, UnmappedWithWorkPending) {
  const Buffer data = MakeBuffer(gpu(), 4096, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, Placement::kHost);
  const Buffer* buffers[] = {&data};
  const Kernel kernel = MakeKernel(gpu(), increment_comp, buffers);
  std::ranges::fill(data.As<uint32_t>(), 5u);
  const Owned<VkCommandPool> pool = MakeCommandPool(gpu());
  const VkCommandBuffer commands = AllocateCommands(gpu(), pool);
  BeginCommands(commands);
  kernel.Bind(commands);
  vkCmdDispatch(commands, 16, 1, 1);
  FullBarrier(commands);
  VK_CHECK(vkEndCommandBuffer(commands));
  const Owned<VkFence> fence = MakeFence(gpu());
  Submit(gpu(), commands, fence);
  vkUnmapMemory(device(), data.memory);
  WaitFor(gpu(), fence);
  void* mapped = nullptr;
  VK_CHECK(vkMapMemory(device(), data.memory, 0, VK_WHOLE_SIZE, 0, &mapped));
  for (uint32_t i = 0; i < 1024; ++i) ASSERT_EQ(static_cast<uint32_t*>(mapped)[i], 6u) << i;
}

// Several buffers bound inside one allocation, through vkBindBufferMemory2.
TEST_F(MemoryTest, BuffersShareAnAllocation) {
  constexpr uint32_t kBuffers = 16;
  VkBufferCreateInfo info = {VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  info.size = 1000;
  info.usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT;
  std::vector<Owned<VkBuffer>> buffers;
  for (uint32_t i = 0; i < kBuffers; ++i) {
    buffers.push_back(Create<VkBuffer>(device(), vkCreateBuffer, vkDestroyBuffer, info));
  }
  VkBufferMemoryRequirementsInfo2 ask = {VK_STRUCTURE_TYPE_BUFFER_MEMORY_REQUIREMENTS_INFO_2};
  ask.buffer = buffers[0];
  VkMemoryDedicatedRequirements dedicated = {VK_STRUCTURE_TYPE_MEMORY_DEDICATED_REQUIREMENTS};
  VkMemoryRequirements2 requirements = {VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2};
  requirements.pNext = &dedicated;
  vkGetBufferMemoryRequirements2(device(), &ask, &requirements);
  EXPECT_EQ(dedicated.requiresDedicatedAllocation, VK_FALSE);
  const auto& plain = requirements.memoryRequirements;
  const VkDeviceSize step = (plain.size + plain.alignment - 1) / plain.alignment * plain.alignment;
  const auto memory =
      Allocate(step * kBuffers, gpu().FindMemoryType(plain.memoryTypeBits, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
                                                                               VK_MEMORY_PROPERTY_HOST_COHERENT_BIT));
  std::vector<VkBindBufferMemoryInfo> binds(kBuffers);
  for (uint32_t i = 0; i < kBuffers; ++i) {
    binds[i] = {VK_STRUCTURE_TYPE_BIND_BUFFER_MEMORY_INFO};
    binds[i].buffer = buffers[i];
    binds[i].memory = memory;
    binds[i].memoryOffset = step * i;
  }
  VK_CHECK(vkBindBufferMemory2(device(), kBuffers, binds.data()));
  void* mapped = nullptr;
  VK_CHECK(vkMapMemory(device(), memory, 0, VK_WHOLE_SIZE, 0, &mapped));
  RunCommands(gpu(), [&](VkCommandBuffer commands) {
    for (uint32_t i = 0; i < kBuffers; ++i) {
      vkCmdFillBuffer(commands, buffers[i], 0, VK_WHOLE_SIZE, i + 1);
    }
  });
  for (uint32_t i = 0; i < kBuffers; ++i) {
    uint32_t words[250];
    std::memcpy(words, static_cast<char*>(mapped) + step * i, sizeof words);
    EXPECT_EQ(std::ranges::count(words, i + 1), 250) << i;
  }
}

// An allocation that no heap can hold is an answer, and the device goes on working after it.
TEST_F(MemoryTest, TooLargeIsAnAnswer) {
  if (ValidationWanted()) GTEST_SKIP() << "the layer objects to sizes beyond the heap";
  VkMemoryAllocateInfo info = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO};
  info.allocationSize = VkDeviceSize{1} << 60;
  info.memoryTypeIndex = HostType();
  VkDeviceMemory memory = VK_NULL_HANDLE;
  const VkResult result = vkAllocateMemory(device(), &info, nullptr, &memory);
  EXPECT_TRUE(result == VK_ERROR_OUT_OF_DEVICE_MEMORY || result == VK_ERROR_OUT_OF_HOST_MEMORY) << ResultName(result);
  const Buffer works = MakeBuffer(gpu(), 4096, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
  RunCommands(gpu(), [&](VkCommandBuffer commands) { vkCmdFillBuffer(commands, works.handle, 0, VK_WHOLE_SIZE, 3); });
  EXPECT_EQ(works.As<uint32_t>()[1023], 3u);
}

// So is a buffer that the device cannot have: the creation says so, or there is one with requirements.
TEST_F(MemoryTest, ABufferThatIsTooLargeIsAnAnswer) {
  if (ValidationWanted()) GTEST_SKIP() << "the layer objects to sizes beyond the limits";
  const auto refused = [](VkResult result) {
    return result == VK_ERROR_OUT_OF_DEVICE_MEMORY || result == VK_ERROR_OUT_OF_HOST_MEMORY;
  };
  VkBufferCreateInfo info = {VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  info.size = VkDeviceSize{1} << 40;
  info.usage = VK_BUFFER_USAGE_TRANSFER_DST_BIT;
  VkBuffer buffer = VK_NULL_HANDLE;
  const VkResult result = vkCreateBuffer(device(), &info, nullptr, &buffer);
  EXPECT_TRUE(result == VK_SUCCESS || refused(result)) << ResultName(result);
  if (result != VK_SUCCESS) return;
  VkMemoryRequirements requirements = {};
  vkGetBufferMemoryRequirements(device(), buffer, &requirements);
  EXPECT_GE(requirements.size, info.size);
  EXPECT_NE(requirements.memoryTypeBits, 0u);
  vkDestroyBuffer(device(), buffer, nullptr);
}

}  // namespace
}  // namespace vesper::test
