// Device memory shared with the server over a Unix socket: what programs see is what it always was, while nothing is found,
// sent or fetched. Runs through Vesper only, over a Unix socket: the counts come from VESPER_STATS, the server's processes
// are found by VESPER_TEST_TAG (both of run_remote.sh).
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <sstream>
#include <string>
#include <thread>

#include "shaders/increment_comp.h"
#include "tests/integration/gpu_test.h"
#include "tests/support/statistics_file.h"

namespace vesper::test {
namespace {

constexpr VkMemoryPropertyFlags kHost = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
constexpr uint32_t kWords = 16384;

std::string TextOf(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();  // what a process that is going no longer tells is an end, not an exception
  return text.str();
}

size_t EntriesOf(const std::filesystem::path& folder) {
  std::error_code gone;
  const std::filesystem::directory_iterator entries(folder, gone);
  return gone ? 0 : static_cast<size_t>(std::distance(begin(entries), end(entries)));
}

struct Footprint {
  size_t descriptors = 0;
  size_t mappings = 0;  // of shared memory
};

Footprint FootprintOf(const std::filesystem::path& process) {
  Footprint footprint;
  footprint.descriptors = EntriesOf(process / "fd");
  const std::string maps = TextOf(process / "maps");
  for (size_t at = 0; (at = maps.find("memfd:vesper-memory", at)) != std::string::npos; ++at) ++footprint.mappings;
  return footprint;
}

// Of this test's server: its workers that share memory.
Footprint FootprintOfWorkers() {
  const char* tag = std::getenv("VESPER_TEST_TAG");
  Footprint sum;
  if (tag == nullptr) return sum;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    if (TextOf(entry.path() / "comm") != "vesper-worker\n") continue;
    if (TextOf(entry.path() / "environ").find(std::string("VESPER_TEST_TAG=") + tag) == std::string::npos) continue;
    const Footprint one = FootprintOf(entry.path());
    if (one.mappings == 0) continue;
    sum.descriptors += one.descriptors;
    sum.mappings += one.mappings;
  }
  return sum;
}

StatisticsFile& File() {
  static StatisticsFile file;
  return file;
}

class SharedMemoryTest : public GpuTest {
 protected:
  void SetUp() override {
    File();
    GpuTest::SetUp();
    GpuTest::TearDown();
    before_ = Moved();
    GpuTest::SetUp();
  }
  // Ends the device and says how many bytes and runs the program's memory cost.
  uint64_t MovedMeanwhile() {
    GpuTest::TearDown();
    return Moved() - before_;
  }

  Owned<VkDeviceMemory> Allocate(VkDeviceSize size, uint32_t type) {
    VkMemoryAllocateInfo info = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO};
    info.allocationSize = size;
    info.memoryTypeIndex = type;
    return Create<VkDeviceMemory>(device(), vkAllocateMemory, vkFreeMemory, info);
  }
  uint32_t HostType() { return gpu().FindMemoryType(UINT32_MAX, kHost); }
  void* Map(VkDeviceMemory memory) {
    void* data = nullptr;
    VK_CHECK(vkMapMemory(device(), memory, 0, VK_WHOLE_SIZE, 0, &data));
    return data;
  }
  Buffer MakeHostBuffer(VkBufferUsageFlags usage) { return MakeBuffer(gpu(), kWords * 4, usage, Placement::kHost); }

  // Through a host buffer, a device buffer, a shader, an image and back.
  void ExpectAllWorks(uint32_t seed) {
    const Buffer source = MakeHostBuffer(VK_BUFFER_USAGE_TRANSFER_SRC_BIT);
    const Buffer numbers = MakeHostBuffer(VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT |
                                          VK_BUFFER_USAGE_TRANSFER_SRC_BIT);
    const Buffer target = MakeHostBuffer(VK_BUFFER_USAGE_TRANSFER_DST_BIT);
    const Image image = MakeImage(gpu(), VK_FORMAT_R8G8B8A8_UNORM, 128, 128,
                                  VK_IMAGE_USAGE_TRANSFER_DST_BIT | VK_IMAGE_USAGE_TRANSFER_SRC_BIT);
    std::iota(source.As<uint32_t>().begin(), source.As<uint32_t>().end(), seed);
    const Buffer* buffers[] = {&numbers};
    const Kernel kernel = MakeKernel(gpu(), increment_comp, buffers);
    RunCommands(gpu(), [&](VkCommandBuffer commands) {
      const VkBufferCopy whole = {0, 0, kWords * 4};
      const VkBufferImageCopy texels = WholeImage(image);
      vkCmdCopyBuffer(commands, source.handle, numbers.handle, 1, &whole);
      FullBarrier(commands);
      kernel.Bind(commands);
      vkCmdDispatch(commands, kWords / 64, 1, 1);
      FullBarrier(commands);
      ChangeLayout(commands, image, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
      vkCmdCopyBufferToImage(commands, numbers.handle, image.handle, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, 1, &texels);
      ChangeLayout(commands, image, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
      vkCmdCopyImageToBuffer(commands, image.handle, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, target.handle, 1, &texels);
      FullBarrier(commands);
    });
    for (uint32_t i = 0; i < kWords; ++i) {
      ASSERT_EQ(numbers.As<uint32_t>()[i], seed + i + 1) << i;
      ASSERT_EQ(target.As<uint32_t>()[i], seed + i + 1) << i;
    }
  }

 private:
  static uint64_t Moved() { return File().Total("dirty_bytes") + File().Total("blocks_received"); }
  uint64_t before_ = 0;
};

TEST_F(SharedMemoryTest, NothingIsCopied) {
  for (uint32_t seed = 1; seed <= 3; ++seed) ExpectAllWorks(seed * 1000);
  EXPECT_EQ(MovedMeanwhile(), 0u);
}

// The witness of the test above: memory that is tracked does move bytes.
TEST_F(SharedMemoryTest, TrackingCanBeAskedFor) {
  setenv("VESPER_MEMORY", "memcmp", 1);
  Open({});
  ExpectAllWorks(5);
  unsetenv("VESPER_MEMORY");
  EXPECT_GE(MovedMeanwhile(), kWords);  // at least one byte of each number that the program wrote
}

TEST_F(SharedMemoryTest, MappingAsksNothing) {
  const auto memory = Allocate(65536, HostType());
  const auto trips = [&](uint32_t times) {
    { Context other; }  // so that the counts are written
    const uint64_t before = File().Total("round_trips");
    for (uint32_t i = 0; i < times; ++i) {
      auto* words = static_cast<uint32_t*>(Map(memory));
      EXPECT_EQ(words[7], i == 0 ? 0u : i - 1);
      words[7] = i;
      vkUnmapMemory(device(), memory);
    }
    static_cast<uint32_t*>(Map(memory))[7] = 0;
    vkUnmapMemory(device(), memory);
    { Context other; }
    return File().Total("round_trips") - before;
  };
  const uint64_t once = trips(1);
  EXPECT_EQ(trips(1000), once);
}

// The device increments every other word while the program writes the words between, in the same pages.
TEST_F(SharedMemoryTest, CpuAndGpuAtOnce) {
  Buffer data = MakeHostBuffer(VK_BUFFER_USAGE_TRANSFER_DST_BIT);
  auto words = data.As<uint32_t>();
  std::atomic<bool> done = false;
  std::thread writer([&] {
    for (uint32_t value = 1; !done; ++value) {
      for (uint32_t i = 1; i < 1024; i += 2) std::atomic_ref(words[i]).store(value);
      for (uint32_t i = 1; i < 1024; i += 2) ASSERT_EQ(std::atomic_ref(words[i]).load(), value) << i;
    }
  });
  for (uint32_t round = 1; round <= 50; ++round) {
    RunCommands(gpu(), [&](VkCommandBuffer commands) {
      for (uint32_t i = 0; i < 1024; i += 2) vkCmdFillBuffer(commands, data.handle, i * 4, 4, round);
      FullBarrier(commands);
    });
    for (uint32_t i = 0; i < 1024; i += 2) ASSERT_EQ(std::atomic_ref(words[i]).load(), round) << i;
  }
  done = true;
  writer.join();
  data = {};
  EXPECT_EQ(MovedMeanwhile(), 0u);
}

// As many allocations as Vulkan promises, with fewer descriptors than that (ulimit -n 1024 in the server as well).
TEST_F(SharedMemoryTest, ManyAllocations) {
  constexpr uint32_t kMany = 4096;
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  ASSERT_LE(limit.rlim_cur, 1024u) << "run it with ulimit -n 1024";
  const Footprint before = FootprintOf("/proc/self");
  std::vector<Owned<VkDeviceMemory>> memories;
  std::vector<uint32_t*> mapped;
  for (uint32_t i = 0; i < kMany; ++i) {
    memories.push_back(Allocate(100 + i, HostType()));
    mapped.push_back(static_cast<uint32_t*>(Map(memories.back())));
    ASSERT_EQ(mapped.back()[0], 0u);
    mapped.back()[0] = i;
  }
  for (uint32_t i = 0; i < kMany; ++i) ASSERT_EQ(mapped[i][0], i);
  EXPECT_EQ(FootprintOf("/proc/self").descriptors, before.descriptors);
  EXPECT_EQ(FootprintOf("/proc/self").mappings, before.mappings + kMany);
  memories.clear();
  EXPECT_EQ(FootprintOf("/proc/self").mappings, before.mappings);
  EXPECT_EQ(MovedMeanwhile(), 0u);
}

TEST_F(SharedMemoryTest, NothingLeaks) {
  const auto kept = Allocate(4096, HostType());  // by which the worker is known
  const auto rounds = [&](uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
      const auto memory = Allocate(4096 * (1 + i % 16), HostType());
      void* data = Map(memory);
      ASSERT_EQ(static_cast<uint32_t*>(data)[i % 1024], 0u) << "memory of someone before";
      std::memset(data, 0xa5, 4096);
    }
  };
  // Frees are not waited for: the worker gets a moment.
  const auto settled = [](size_t mappings) {
    Footprint server = FootprintOfWorkers();
    for (int i = 0; i < 500 && server.mappings != mappings; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      server = FootprintOfWorkers();
    }
    EXPECT_EQ(server.mappings, mappings);
    return server;
  };
  rounds(10);
  const Footprint client = FootprintOf("/proc/self");
  const Footprint server = settled(1);
  rounds(5000);
  EXPECT_EQ(FootprintOf("/proc/self").descriptors, client.descriptors);
  EXPECT_EQ(FootprintOf("/proc/self").mappings, client.mappings);
  EXPECT_EQ(settled(1).descriptors, server.descriptors);
}

// More than may be shared (the server's --max-shared-memory): the rest is tracked, both are right side by side.
TEST_F(SharedMemoryTest, BeyondTheBudget) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "takes minutes: the driver is not instrumented, and each word that it copies is a suppressed race";
#endif
  std::vector<Buffer> buffers;
  constexpr VkDeviceSize kSize = 1 << 20;
  constexpr uint32_t kCount = 12;  // 8 MiB may be shared
  for (uint32_t i = 0; i < kCount; ++i) {
    buffers.push_back(MakeBuffer(gpu(), kSize, VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT,
                                 Placement::kHost));
    std::ranges::fill(buffers[i].As<uint32_t>(), i + 1);
  }
  const size_t shared = FootprintOf("/proc/self").mappings;
  EXPECT_GE(shared, 6u);
  EXPECT_LT(shared, kCount);
  RunCommands(gpu(), [&](VkCommandBuffer commands) {
    const VkBufferCopy half = {0, kSize / 2, kSize / 2};
    for (uint32_t i = 0; i + 1 < kCount; ++i) {
      vkCmdCopyBuffer(commands, buffers[i].handle, buffers[i + 1].handle, 1, &half);
    }
    FullBarrier(commands);
  });
  for (uint32_t i = 1; i < kCount; ++i) {
    ASSERT_EQ(buffers[i].As<uint32_t>()[0], i + 1);
    ASSERT_EQ(buffers[i].As<uint32_t>()[kSize / 8], i);
    ASSERT_EQ(buffers[i].As<uint32_t>()[kSize / 4 - 1], i);
  }
  buffers.clear();
  ExpectAllWorks(7);
  EXPECT_GT(MovedMeanwhile(), 0u);
}

// Allocates until the device says no, which its server's limits see to, and goes on.
TEST_F(SharedMemoryTest, UntilExhausted) {
  for (int round = 0; round < 2; ++round) {
    std::vector<Owned<VkDeviceMemory>> memories;
    VkResult result = VK_SUCCESS;
    while (result == VK_SUCCESS && memories.size() < 1000) {
      VkMemoryAllocateInfo info = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO};
      info.allocationSize = VkDeviceSize{256} << 20;
      info.memoryTypeIndex = HostType();
      VkDeviceMemory memory = VK_NULL_HANDLE;
      result = vkAllocateMemory(device(), &info, nullptr, &memory);
      if (result == VK_SUCCESS) memories.emplace_back(device(), memory, vkFreeMemory);
    }
    EXPECT_TRUE(result == VK_ERROR_OUT_OF_DEVICE_MEMORY || result == VK_ERROR_OUT_OF_HOST_MEMORY) << ResultName(result);
    memories.resize(memories.size() / 2);
    ExpectAllWorks(9);
  }
}

// What SharedMemoryTest.AKilledClientLeavesNothing kills: it has memory until then.
TEST_F(SharedMemoryTest, DISABLED_HoldsMemory) {
  const auto memory = Allocate(VkDeviceSize{64} << 20, HostType());
  std::memset(Map(memory), 1, size_t{64} << 20);
  while (getppid() != 1) std::this_thread::sleep_for(std::chrono::milliseconds(50));
}

TEST_F(SharedMemoryTest, AKilledClientLeavesNothing) {
  const auto wait_for = [](size_t mappings) {
    for (int i = 0; i < 2000 && FootprintOfWorkers().mappings != mappings; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return FootprintOfWorkers().mappings == mappings;
  };
  ASSERT_TRUE(wait_for(0));
  const pid_t child = fork();
  if (child == 0) {
    execl("/proc/self/exe", "holder", "--gtest_also_run_disabled_tests", "--gtest_filter=*DISABLED_HoldsMemory",
          nullptr);
    _exit(127);
  }
  EXPECT_TRUE(wait_for(1));
  kill(child, SIGKILL);
  EXPECT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(wait_for(0));
  ExpectAllWorks(13);
}

// An image with contents from the start cannot be bound to imported memory; other memory then is what it gets.
TEST_F(SharedMemoryTest, PreinitializedImage) {
  VkImageCreateInfo info = {VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO};
  info.imageType = VK_IMAGE_TYPE_2D;
  info.format = VK_FORMAT_R8G8B8A8_UNORM;
  info.extent = {64, 64, 1};
  info.mipLevels = 1;
  info.arrayLayers = 1;
  info.samples = VK_SAMPLE_COUNT_1_BIT;
  info.tiling = VK_IMAGE_TILING_LINEAR;
  info.usage = VK_IMAGE_USAGE_TRANSFER_SRC_BIT;
  info.initialLayout = VK_IMAGE_LAYOUT_PREINITIALIZED;
  const auto raw = Create<VkImage>(device(), vkCreateImage, vkDestroyImage, info);
  VkMemoryRequirements needs;
  vkGetImageMemoryRequirements(device(), raw, &needs);
  const auto memory = Allocate(needs.size, gpu().FindMemoryType(needs.memoryTypeBits, kHost));
  VK_CHECK(vkBindImageMemory(device(), raw, memory, 0));
  const VkImageSubresource plane = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0};
  VkSubresourceLayout layout;
  vkGetImageSubresourceLayout(device(), raw, &plane, &layout);
  auto* bytes = static_cast<uint8_t*>(Map(memory)) + layout.offset;
  for (uint32_t y = 0; y < 64; ++y) {
    for (uint32_t x = 0; x < 64; ++x) {
      const uint32_t texel = y * 1000 + x;
      std::memcpy(bytes + y * layout.rowPitch + x * 4, &texel, 4);
    }
  }
  const Buffer target = MakeHostBuffer(VK_BUFFER_USAGE_TRANSFER_DST_BIT);
  RunCommands(gpu(), [&](VkCommandBuffer commands) {
    Image image;
    image.extent = info.extent;
    VkImageMemoryBarrier barrier = {VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER};
    barrier.srcAccessMask = VK_ACCESS_HOST_WRITE_BIT;
    barrier.dstAccessMask = VK_ACCESS_TRANSFER_READ_BIT;
    barrier.oldLayout = VK_IMAGE_LAYOUT_PREINITIALIZED;
    barrier.newLayout = VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL;
    barrier.srcQueueFamilyIndex = barrier.dstQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED;
    barrier.image = raw;
    barrier.subresourceRange = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
    vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_HOST_BIT, VK_PIPELINE_STAGE_TRANSFER_BIT, 0, 0, nullptr, 0,
                         nullptr, 1, &barrier);
    const VkBufferImageCopy texels = WholeImage(image);
    vkCmdCopyImageToBuffer(commands, raw, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, target.handle, 1, &texels);
    FullBarrier(commands);
  });
  for (uint32_t i = 0; i < 64 * 64; ++i) ASSERT_EQ(target.As<uint32_t>()[i], i / 64 * 1000 + i % 64);
}

// A child has its own memory there, which it may read and write; the parent's and its device's stay as they are.
TEST_F(SharedMemoryTest, Fork) {
  const Buffer data = MakeHostBuffer(VK_BUFFER_USAGE_TRANSFER_DST_BIT);
  std::ranges::fill(data.As<uint32_t>(), 77u);
  const pid_t child = fork();
  if (child == 0) {
    auto words = data.As<uint32_t>();
    const bool empty = std::ranges::count(words, 0u) == static_cast<ptrdiff_t>(words.size());
    std::ranges::fill(words, 5u);
    _exit(empty && words[100] == 5u && FootprintOf("/proc/self").mappings == 0 ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_EQ(std::ranges::count(data.As<uint32_t>(), 77u), static_cast<ptrdiff_t>(kWords));
  ExpectAllWorks(11);
}

}  // namespace
}  // namespace vesper::test
