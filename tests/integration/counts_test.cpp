// How often programs wait for the server, counted and not timed: each operation is done once in one instance and a thousand
// times in another, and the difference is what it costs. Runs through Vesper only: the counts come from VESPER_STATS.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "shaders/empty_comp.h"
#include "tests/support/statistics_file.h"
#include "tests/support/vulkan_context.h"
#include "tests/support/vulkan_pipelines.h"
#include "tests/support/vulkan_resources.h"

namespace vesper::test {
namespace {

constexpr uint32_t kMany = 1000;

StatisticsFile& File() {
  static StatisticsFile file;
  return file;
}

struct Counts {
  uint64_t round_trips;
  uint64_t waits;
};

// What one instance costs that prepares something and then does `operation` `times` times.
using Operation = std::function<void(uint32_t i)>;
using Prepare = std::function<Operation(Context&)>;
Counts Measure(const Prepare& prepare, uint32_t times) {
  const auto read = [](const char* name) { return File().Total(name); };
  { Context first; }  // so that the file exists
  const Counts before = {read("round_trips"), read("waits")};
  {
    Context context;
    const Operation operation = prepare(context);
    for (uint32_t i = 0; i < times; ++i) operation(i);
  }
  return {read("round_trips") - before.round_trips, read("waits") - before.waits};
}

void SubmitBehind(Context& gpu, const Owned<VkSemaphore>& gate, VkCommandBuffer commands) {
  const uint64_t value = 1;
  VkTimelineSemaphoreSubmitInfo values = {VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO};
  values.waitSemaphoreValueCount = 1;
  values.pWaitSemaphoreValues = &value;
  const VkPipelineStageFlags stage = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
  VkSubmitInfo info = {VK_STRUCTURE_TYPE_SUBMIT_INFO};
  info.pNext = &values;
  info.waitSemaphoreCount = 1;
  info.pWaitSemaphores = gate.address();
  info.pWaitDstStageMask = &stage;
  info.commandBufferCount = 1;
  info.pCommandBuffers = &commands;
  VK_CHECK(vkQueueSubmit(gpu.queue(), 1, &info, VK_NULL_HANDLE));
}

void Open(Context& gpu, const Owned<VkSemaphore>& gate) {
  VkSemaphoreSignalInfo signal = {VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO};
  signal.semaphore = gate;
  signal.value = 1;
  VK_CHECK(vkSignalSemaphore(gpu.device(), &signal));
}

// Doing it a thousand times waits no more often than doing it once.
void ExpectNoRoundTrips(const Prepare& prepare) {
  File();
  const Counts once = Measure(prepare, 1);
  const Counts often = Measure(prepare, kMany);
  EXPECT_EQ(once.round_trips, often.round_trips);
  EXPECT_EQ(once.waits, often.waits);
}

VkBufferCreateInfo SmallBuffer() {
  VkBufferCreateInfo info = {VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  info.size = 256;
  info.usage = VK_BUFFER_USAGE_TRANSFER_DST_BIT;
  return info;
}

class CountsTest : public testing::Test {};

TEST_F(CountsTest, CreateBuffer) {
  ExpectNoRoundTrips([](Context& gpu) {
    return [&gpu](uint32_t) {
      const VkBufferCreateInfo info = SmallBuffer();
      VkBuffer buffer;
      VK_CHECK(vkCreateBuffer(gpu.device(), &info, nullptr, &buffer));
      vkDestroyBuffer(gpu.device(), buffer, nullptr);
    };
  });
}

TEST_F(CountsTest, FencesSemaphoresSamplers) {
  ExpectNoRoundTrips([](Context& gpu) {
    return [&gpu](uint32_t) {
      const VkFenceCreateInfo fence_info = {VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
      const VkSemaphoreCreateInfo semaphore_info = {VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO};
      const VkSamplerCreateInfo sampler_info = {VK_STRUCTURE_TYPE_SAMPLER_CREATE_INFO};
      VkFence fence;
      VkSemaphore semaphore;
      VkSampler sampler;
      VK_CHECK(vkCreateFence(gpu.device(), &fence_info, nullptr, &fence));
      VK_CHECK(vkCreateSemaphore(gpu.device(), &semaphore_info, nullptr, &semaphore));
      VK_CHECK(vkCreateSampler(gpu.device(), &sampler_info, nullptr, &sampler));
      EXPECT_EQ(vkGetFenceStatus(gpu.device(), fence), VK_NOT_READY);
      vkDestroyFence(gpu.device(), fence, nullptr);
      vkDestroySemaphore(gpu.device(), semaphore, nullptr);
      vkDestroySampler(gpu.device(), sampler, nullptr);
    };
  });
}

// What is not shared with the server is allocated without asking, but for the first, as long as it fits into what the server keeps
// for the program, or is freed before.
TEST_F(CountsTest, AllocationsOnCredit) {
  setenv("VESPER_MEMORY", "hash", 0);  // shared memory is not
  for (const VkDeviceSize size : {VkDeviceSize{4} << 10, VkDeviceSize{64} << 10, VkDeviceSize{4} << 20}) {
    const auto allocate = [size](Context& gpu) {
      VkMemoryAllocateInfo info = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO};
      info.allocationSize = size;
      VkDeviceMemory memory = VK_NULL_HANDLE;
      VK_CHECK(vkAllocateMemory(gpu.device(), &info, nullptr, &memory));
      return memory;
    };
    ExpectNoRoundTrips([allocate](Context& gpu) {
      vkFreeMemory(gpu.device(), allocate(gpu), nullptr);
      return [&gpu, allocate](uint32_t) { vkFreeMemory(gpu.device(), allocate(gpu), nullptr); };
    });
  }
  ExpectNoRoundTrips([](Context& gpu) {
    const auto allocate = [&gpu] {
      VkMemoryAllocateInfo info = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO};
      info.allocationSize = 4096;
      return Create(gpu.device(), vkAllocateMemory, vkFreeMemory, info);
    };
    const auto all = std::make_shared<std::vector<Owned<VkDeviceMemory>>>();
    all->push_back(allocate());
    return [all, allocate](uint32_t) { all->push_back(allocate()); };
  });
}

TEST_F(CountsTest, RequirementsOfEqualBuffers) {
  ExpectNoRoundTrips([](Context& gpu) {
    return [&gpu](uint32_t) {
      const VkBufferCreateInfo info = SmallBuffer();
      VkDeviceBufferMemoryRequirements question = {VK_STRUCTURE_TYPE_DEVICE_BUFFER_MEMORY_REQUIREMENTS};
      question.pCreateInfo = &info;
      VkMemoryRequirements2 answer = {VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2};
      vkGetDeviceBufferMemoryRequirements(gpu.device(), &question, &answer);
      EXPECT_GE(answer.memoryRequirements.size, info.size);
    };
  });
}

// Made, asked about, bound and destroyed: what equal objects need is asked for once.
TEST_F(CountsTest, ChurnOfBoundBuffersAndImages) {
  ExpectNoRoundTrips([](Context& gpu) {
    const auto memory =
        std::make_shared<Buffer>(MakeBuffer(gpu, 1 << 20, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kDevice));
    return [&gpu, memory](uint32_t) {
      const VkBufferCreateInfo info = SmallBuffer();
      VkBuffer buffer;
      VK_CHECK(vkCreateBuffer(gpu.device(), &info, nullptr, &buffer));
      VkMemoryRequirements needs;
      vkGetBufferMemoryRequirements(gpu.device(), buffer, &needs);
      EXPECT_GE(needs.size, info.size);
      VK_CHECK(vkBindBufferMemory(gpu.device(), buffer, memory->memory, 0));
      vkDestroyBuffer(gpu.device(), buffer, nullptr);
      VkImageCreateInfo image_info = {VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO};
      image_info.imageType = VK_IMAGE_TYPE_2D;
      image_info.format = VK_FORMAT_R8G8B8A8_UNORM;
      image_info.extent = {16, 8, 1};
      image_info.mipLevels = image_info.arrayLayers = 1;
      image_info.samples = VK_SAMPLE_COUNT_1_BIT;
      image_info.tiling = VK_IMAGE_TILING_LINEAR;
      image_info.usage = VK_IMAGE_USAGE_TRANSFER_DST_BIT;
      VkImage image;
      VK_CHECK(vkCreateImage(gpu.device(), &image_info, nullptr, &image));
      vkGetImageMemoryRequirements(gpu.device(), image, &needs);
      const VkImageSubresource first = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0};
      VkSubresourceLayout layout;
      vkGetImageSubresourceLayout(gpu.device(), image, &first, &layout);
      EXPECT_GE(needs.size, layout.rowPitch * 8);
      EXPECT_GE(layout.rowPitch, 16u * 4);
      vkDestroyImage(gpu.device(), image, nullptr);
    };
  });
}

TEST_F(CountsTest, RequirementsFollowTheSizeAndNotTheHandle) {
  Context gpu;
  VkDeviceSize last = 0;
  for (const VkDeviceSize size : {1u << 10, 1u << 20, 1u << 24}) {
    VkBufferCreateInfo info = SmallBuffer();
    info.size = size;
    for (int again = 0; again < 2; ++again) {
      VkBuffer buffer;
      VK_CHECK(vkCreateBuffer(gpu.device(), &info, nullptr, &buffer));
      VkMemoryRequirements needs;
      vkGetBufferMemoryRequirements(gpu.device(), buffer, &needs);
      vkDestroyBuffer(gpu.device(), buffer, nullptr);
      EXPECT_GE(needs.size, size);
      if (again == 1) {
        EXPECT_EQ(needs.size, last);
      }
      last = needs.size;
    }
  }
}

TEST_F(CountsTest, PipelinesDoNotWait) {
  ExpectNoRoundTrips([](Context& gpu) {
    const auto layout = std::make_shared<Owned<VkPipelineLayout>>(MakePipelineLayout(gpu, {}));
    const auto shader = std::make_shared<Owned<VkShaderModule>>(MakeShader(gpu, empty_comp));
    return [&gpu, layout, shader](uint32_t) {
      VkComputePipelineCreateInfo info = {VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO};
      info.stage = {VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO};
      info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
      info.stage.module = *shader;
      info.stage.pName = "main";
      info.layout = *layout;
      VkPipeline pipeline;
      VK_CHECK(vkCreateComputePipelines(gpu.device(), VK_NULL_HANDLE, 1, &info, nullptr, &pipeline));
      vkDestroyPipeline(gpu.device(), pipeline, nullptr);
    };
  });
}

TEST_F(CountsTest, PropertiesAreAskedOnce) {
  ExpectNoRoundTrips([](Context& gpu) {
    return [&gpu](uint32_t) {
      VkPhysicalDeviceProperties2 properties = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
      vkGetPhysicalDeviceProperties2(gpu.physical_device(), &properties);
      EXPECT_STREQ(properties.properties.deviceName, gpu.properties().deviceName);
      VkFormatProperties format;
      vkGetPhysicalDeviceFormatProperties(gpu.physical_device(), VK_FORMAT_R8G8B8A8_UNORM, &format);
    };
  });
}

// What nearly every program asks of a physical device before it makes a device, all in one function.
void AskUsual(VkPhysicalDevice device) {
  VkPhysicalDeviceVulkan13Properties p13 = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_PROPERTIES};
  VkPhysicalDeviceDriverProperties driver = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES, &p13};
  VkPhysicalDeviceSubgroupProperties subgroups = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES, &driver};
  VkPhysicalDeviceProperties2 properties = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, &subgroups};
  vkGetPhysicalDeviceProperties2(device, &properties);
  EXPECT_STRNE(driver.driverName, "");
  EXPECT_NE(p13.maxBufferSize, 0u);
  CoreFeatures features;
  vkGetPhysicalDeviceFeatures2(device, &features.core);
  EXPECT_TRUE(features.v12.timelineSemaphore);
  uint32_t count = 0;
  vkGetPhysicalDeviceQueueFamilyProperties2(device, &count, nullptr);
  std::vector<VkQueueFamilyProperties2> families(count, {VK_STRUCTURE_TYPE_QUEUE_FAMILY_PROPERTIES_2});
  vkGetPhysicalDeviceQueueFamilyProperties2(device, &count, families.data());
  EXPECT_NE(families[0].queueFamilyProperties.queueCount, 0u);
  VkPhysicalDeviceMemoryProperties2 memory = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2};
  vkGetPhysicalDeviceMemoryProperties2(device, &memory);
  EXPECT_NE(memory.memoryProperties.memoryTypeCount, 0u);
  vkEnumerateDeviceExtensionProperties(device, nullptr, &count, nullptr);
  EXPECT_NE(count, 0u);
}

// The handshake, what instances offer, the instance with its devices, what is asked of them, the device: the fence is a wait. The
// instance's end is one more.
TEST_F(CountsTest, AWholeStart) {
  const auto submit = [](Context& gpu) -> Operation {
    return [&gpu](uint32_t) {
      AskUsual(gpu.physical_device());
      const Owned<VkFence> done = MakeFence(gpu);
      VK_CHECK(vkQueueSubmit(gpu.queue(), 0, nullptr, done));
      VK_CHECK(vkWaitForFences(gpu.device(), 1, done.address(), VK_TRUE, UINT64_MAX));
    };
  };
  File();
  const Counts counts = Measure(submit, 1);
  EXPECT_LE(counts.round_trips, 5u + 1u);
  EXPECT_LE(counts.waits, 1u);
}

// Nothing but the instance: questions of whatever chain add one trip at most.
TEST_F(CountsTest, PropertiesOfAnInstance) {
  File();
  { Context first; }  // so that the file exists
  const auto trips = [](bool asks) {
    const uint64_t before = File().Total("round_trips");
    VkApplicationInfo application = {VK_STRUCTURE_TYPE_APPLICATION_INFO};
    application.apiVersion = VK_API_VERSION_1_3;
    VkInstanceCreateInfo info = {VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
    info.pApplicationInfo = &application;
    VkInstance instance = VK_NULL_HANDLE;
    VK_CHECK(vkCreateInstance(&info, nullptr, &instance));
    if (asks) AskUsual(ChooseDevice(instance));
    vkDestroyInstance(instance, nullptr);
    return File().Total("round_trips") - before;
  };
  const uint64_t without = trips(false);
  EXPECT_LE(without, 3u + 1u);
  EXPECT_LE(trips(true), without + 1);
}

// Whoever asks about one format asks about others.
TEST_F(CountsTest, Formats) {
  const auto ask = [](int last) -> Prepare {
    return [last](Context& gpu) -> Operation {
      return [&gpu, last](uint32_t) {
        for (int i = VK_FORMAT_R4G4_UNORM_PACK8; i <= last; ++i) {
          VkFormatProperties plain;
          vkGetPhysicalDeviceFormatProperties(gpu.physical_device(), static_cast<VkFormat>(i), &plain);
          VkFormatProperties3 flags = {VK_STRUCTURE_TYPE_FORMAT_PROPERTIES_3};
          VkFormatProperties2 answer = {VK_STRUCTURE_TYPE_FORMAT_PROPERTIES_2, &flags, {}};
          vkGetPhysicalDeviceFormatProperties2(gpu.physical_device(), static_cast<VkFormat>(i), &answer);
          EXPECT_EQ(answer.formatProperties.optimalTilingFeatures, plain.optimalTilingFeatures) << i;
          EXPECT_EQ(static_cast<uint32_t>(flags.bufferFeatures) & plain.bufferFeatures, plain.bufferFeatures) << i;
        }
      };
    };
  };
  File();
  EXPECT_EQ(Measure(ask(VK_FORMAT_R4G4_UNORM_PACK8), 1).round_trips,
            Measure(ask(VK_FORMAT_ASTC_12x12_SRGB_BLOCK), 1).round_trips);
}

// Layouts of so many buffers each, and a pool for a set of each and a few more.
struct LayoutsAndPool {
  LayoutsAndPool(Context& gpu, std::initializer_list<uint32_t> counts, VkDescriptorPoolCreateFlags flags) {
    VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 4};
    for (const uint32_t count : counts) {
      const VkDescriptorSetLayoutBinding binding = Binding(0, size.type, VK_SHADER_STAGE_ALL, count);
      layouts.push_back(MakeSetLayout(gpu, {&binding, 1}));
      size.descriptorCount += count;
    }
    pool = MakeDescriptorPool(gpu, 4, {&size, 1}, flags);
  }
  std::vector<Owned<VkDescriptorSetLayout>> layouts;
  Owned<VkDescriptorPool> pool;
};

TEST_F(CountsTest, DescriptorSetsWithinThePool) {
  ExpectNoRoundTrips([](Context& gpu) {
    const auto sets = std::make_shared<LayoutsAndPool>(gpu, std::initializer_list<uint32_t>{1}, 0);
    return [&gpu, sets](uint32_t) {
      AllocateSet(gpu, sets->pool, sets->layouts[0]);
      VK_CHECK(vkResetDescriptorPool(gpu.device(), sets->pool, 0));
    };
  });
}

// Of different sizes, freed when others have been allocated.
TEST_F(CountsTest, DescriptorSetsFreedOneByOne) {
  ExpectNoRoundTrips([](Context& gpu) {
    const auto sets = std::make_shared<LayoutsAndPool>(gpu, std::initializer_list<uint32_t>{1, 3, 2},
                                                       VK_DESCRIPTOR_POOL_CREATE_FREE_DESCRIPTOR_SET_BIT);
    const auto last = std::make_shared<VkDescriptorSet>(AllocateSet(gpu, sets->pool, sets->layouts[2]));
    return [&gpu, sets, last](uint32_t i) {
      const VkDescriptorSet next = AllocateSet(gpu, sets->pool, sets->layouts[i % 3]);
      VK_CHECK(vkFreeDescriptorSets(gpu.device(), sets->pool, 1, last.get()));
      *last = next;
    };
  });
}

// The first question brings the addresses of all buffers made before; later ones come without being waited for.
TEST_F(CountsTest, AddressesOfBuffers) {
  File();
  if (Context().features().v12.bufferDeviceAddress == VK_FALSE) GTEST_SKIP() << "not offered";
  const auto ask = [](int times) -> Prepare {
    return [times](Context& gpu) {
      auto buffers = std::make_shared<std::vector<Buffer>>();
      for (int i = 0; i < 100; ++i) {
        buffers->push_back(MakeBuffer(gpu, 256, VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT, Placement::kDevice));
      }
      return [&gpu, buffers, times](uint32_t) {
        for (int i = 0; i < times; ++i) {
          VkBufferDeviceAddressInfo info = {VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO};
          info.buffer = (*buffers)[static_cast<size_t>(i) % buffers->size()].handle;
          EXPECT_NE(vkGetBufferDeviceAddress(gpu.device(), &info), 0u);
        }
      };
    };
  };
  const Counts none = Measure(ask(0), 1);
  const Counts all = Measure(ask(1000), 1);
  EXPECT_EQ(all.round_trips, none.round_trips + 1);
}

TEST_F(CountsTest, RecordingAndSubmitting) {
  ExpectNoRoundTrips([](Context& gpu) {
    // The pool goes when nothing of it is pending any more.
    const auto idle = [&gpu](Owned<VkCommandPool>* done) {
      VK_CHECK(vkDeviceWaitIdle(gpu.device()));
      delete done;
    };
    const std::shared_ptr<Owned<VkCommandPool>> pool(new Owned<VkCommandPool>(MakeCommandPool(gpu)), idle);
    return [&gpu, pool](uint32_t) {
      const VkCommandBuffer commands = AllocateCommands(gpu, *pool);
      BeginCommands(commands);
      FullBarrier(commands);
      VK_CHECK(vkEndCommandBuffer(commands));
      Submit(gpu, commands, VK_NULL_HANDLE);
    };
  });
}

// A fence that nothing signals yet is polled ten thousand times; its signal is seen during the polling.
TEST_F(CountsTest, PollingAFence) {
  constexpr int kPolls = 10'000;
  const Prepare prepare = [](Context& gpu) {
    return [&gpu](uint32_t i) {
      if (i != 0) return;
      const Owned<VkFence> fence = MakeFence(gpu);
      for (int poll = 0; poll < kPolls; ++poll) EXPECT_EQ(vkGetFenceStatus(gpu.device(), fence), VK_NOT_READY);
      VkSubmitInfo empty = {VK_STRUCTURE_TYPE_SUBMIT_INFO};
      VK_CHECK(vkQueueSubmit(gpu.queue(), 1, &empty, fence));
      while (vkGetFenceStatus(gpu.device(), fence) == VK_NOT_READY) {
      }
      EXPECT_EQ(vkGetFenceStatus(gpu.device(), fence), VK_SUCCESS);
    };
  };
  File();
  const Counts without = Measure(prepare, 0);
  const Counts with = Measure(prepare, 1);
  EXPECT_EQ(without.round_trips, with.round_trips);
  EXPECT_EQ(without.waits, with.waits);
  EXPECT_GT(File().OfCommand("vkGetFenceStatus", "calls"), uint64_t{kPolls});
  EXPECT_EQ(File().OfCommand("vkGetFenceStatus", "round_trips"), 0u);
  EXPECT_EQ(File().OfCommand("vkGetFenceStatus", "bytes_sent"), 0u);
}

// Staging memory, which the GPU only reads: mapped, written and unmapped between submits without waiting.
TEST_F(CountsTest, MappingUploadMemory) {
  ExpectNoRoundTrips([](Context& gpu) {
    auto staging = std::make_shared<Buffer>(MakeBuffer(gpu, 65536, VK_BUFFER_USAGE_TRANSFER_SRC_BIT, Placement::kHost));
    vkUnmapMemory(gpu.device(), staging->memory);
    return [&gpu, staging](uint32_t i) {
      void* mapped = nullptr;
      VK_CHECK(vkMapMemory(gpu.device(), staging->memory, 0, VK_WHOLE_SIZE, 0, &mapped));
      static_cast<uint32_t*>(mapped)[i] = i + 1;
      vkUnmapMemory(gpu.device(), staging->memory);
      VK_CHECK(vkQueueSubmit(gpu.queue(), 0, nullptr, VK_NULL_HANDLE));
    };
  });
}

// 64 MiB stay mapped through a hundred submits: what travels is what changed, in both directions.
TEST_F(CountsTest, OnlyChangedBytesOfMappedMemoryTravel) {
  setenv("VESPER_MEMORY", "hash", 0);  // of shared memory nothing travels
  constexpr VkDeviceSize kSize = VkDeviceSize{64} << 20;
  constexpr uint32_t kRounds = 100;
  File();
  { Context first; }  // so that the file exists
  const uint64_t dirty = File().Total("dirty_bytes");
  const uint64_t received = File().Total("received_bytes");
  {
    Context gpu;
    const Buffer data = MakeBuffer(gpu, kSize, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
    for (uint32_t round = 0; round < kRounds; ++round) {
      const VkDeviceSize at = round * (kSize / kRounds) / 4 * 4;
      for (uint32_t i = 0; i < 7; ++i) data.As<uint8_t>()[at + 64 + i] = 1;
      RunCommands(gpu, [&](VkCommandBuffer commands) { vkCmdFillBuffer(commands, data.handle, at, 16, 0x01010101); });
      ASSERT_EQ(data.As<uint32_t>()[at / 4 + 3], 0x01010101u);
    }
  }
  EXPECT_EQ(File().Total("dirty_bytes") - dirty, kRounds * 7);
  EXPECT_GE(File().Total("compared_bytes"), kRounds * 7);
  EXPECT_EQ(File().Total("received_bytes") - received, kRounds * 16);
}

// A program that asks for it has what becomes smaller packed, on TCP; nobody else has, and then both counts are the same.
TEST_F(CountsTest, PackedBytesAreCounted) {
  setenv("VESPER_MEMORY", "hash", 0);
  constexpr VkDeviceSize kSize = VkDeviceSize{4} << 20;
  const char* server = std::getenv("VESPER_SERVER");
  const bool tcp = server != nullptr && std::string_view(server).starts_with("tcp");
  for (const bool packs : {false, true}) {
    setenv("VESPER_COMPRESS", packs ? "on" : "off", 1);
    { Context first; }  // so that the file exists
    const auto read = [](const char* name) { return File().Total(name); };
    const uint64_t sent = read("bytes_sent"), received = read("bytes_received");
    const uint64_t unpacked_sent = read("unpacked_sent"), unpacked_received = read("unpacked_received");
    {
      Context gpu;
      const Buffer up = MakeBuffer(gpu, kSize, VK_BUFFER_USAGE_TRANSFER_SRC_BIT, Placement::kHost);
      const Buffer down = MakeBuffer(gpu, kSize, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
      for (uint32_t i = 0; i < kSize / 4; ++i) up.As<uint32_t>()[i] = i / 16 + 1;
      RunCommands(gpu, [&](VkCommandBuffer commands) {
        const VkBufferCopy all = {0, 0, kSize};
        vkCmdCopyBuffer(commands, up.handle, down.handle, 1, &all);
      });
      ASSERT_EQ(std::memcmp(up.mapped, down.mapped, kSize), 0);
    }
    const uint64_t saved = read("unpacked_sent") - unpacked_sent - (read("bytes_sent") - sent);
    const uint64_t received_saved = read("unpacked_received") - unpacked_received - (read("bytes_received") - received);
    if (packs && tcp) {
      EXPECT_GT(saved, kSize / 2);
      EXPECT_GT(received_saved, kSize / 2);
    } else {
      EXPECT_EQ(saved, 0u);
      EXPECT_EQ(received_saved, 0u);
    }
  }
  unsetenv("VESPER_COMPRESS");
}

// An event that a submit will set once the host lets it: polled ten thousand times before, and the set is seen while
// polling. One answer is waited for when something has completed, however often the event is polled.
TEST_F(CountsTest, PollingAnEvent) {
  const auto polls = [](int count) -> Prepare {
    return [count](Context& gpu) {
      return [&gpu, count](uint32_t) {
        const VkEventCreateInfo info = {VK_STRUCTURE_TYPE_EVENT_CREATE_INFO};
        const auto event = Create<VkEvent>(gpu.device(), vkCreateEvent, vkDestroyEvent, info);
        const auto gate = MakeTimeline(gpu);
        const auto pool = MakeCommandPool(gpu);
        const VkCommandBuffer commands = AllocateCommands(gpu, pool);
        BeginCommands(commands);
        vkCmdSetEvent(commands, event, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT);
        VK_CHECK(vkEndCommandBuffer(commands));
        SubmitBehind(gpu, gate, commands);
        for (int poll = 0; poll < count; ++poll) EXPECT_EQ(vkGetEventStatus(gpu.device(), event), VK_EVENT_RESET);
        Open(gpu, gate);
        while (vkGetEventStatus(gpu.device(), event) == VK_EVENT_RESET) {
        }
        EXPECT_EQ(vkGetEventStatus(gpu.device(), event), VK_EVENT_SET);
        VK_CHECK(vkResetEvent(gpu.device(), event));
        EXPECT_EQ(vkGetEventStatus(gpu.device(), event), VK_EVENT_RESET);
        VK_CHECK(vkSetEvent(gpu.device(), event));
        EXPECT_EQ(vkGetEventStatus(gpu.device(), event), VK_EVENT_SET);
        VK_CHECK(vkDeviceWaitIdle(gpu.device()));
      };
    };
  };
  File();
  const Counts few = Measure(polls(1), 1);
  const Counts many = Measure(polls(10'000), 1);
  EXPECT_LE(many.round_trips, few.round_trips + 1) << "whether the completion or the event is seen first differs";
}

// Results that nothing can make available before the next submit.
TEST_F(CountsTest, PollingAQuery) {
  const auto polls = [](int count) -> Prepare {
    return [count](Context& gpu) {
      return [&gpu, count](uint32_t) {
        VkQueryPoolCreateInfo info = {VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO};
        info.queryType = VK_QUERY_TYPE_OCCLUSION;
        info.queryCount = 2;
        const auto queries = Create<VkQueryPool>(gpu.device(), vkCreateQueryPool, vkDestroyQueryPool, info);
        vkResetQueryPool(gpu.device(), queries, 0, 2);
        uint64_t result[2] = {7, 7};
        const auto poll = [&](VkQueryResultFlags flags) {
          return vkGetQueryPoolResults(gpu.device(), queries, 0, 1, sizeof(result), result, sizeof(result),
                                       VK_QUERY_RESULT_64_BIT | flags);
        };
        for (int i = 0; i < count; ++i) {
          EXPECT_EQ(poll(0), VK_NOT_READY);
          EXPECT_EQ(result[0], 7u) << "what is not available is not written";
        }
        for (int i = 0; i < count; ++i) {
          poll(VK_QUERY_RESULT_WITH_AVAILABILITY_BIT);
          EXPECT_EQ(result[1], 0u);
        }
        const auto pool = MakeCommandPool(gpu);
        const VkCommandBuffer commands = AllocateCommands(gpu, pool);
        BeginCommands(commands);
        vkCmdBeginQuery(commands, queries, 0, 0);
        vkCmdEndQuery(commands, queries, 0);
        VK_CHECK(vkEndCommandBuffer(commands));
        Submit(gpu, commands, VK_NULL_HANDLE);
        while (poll(0) == VK_NOT_READY) {
        }
        EXPECT_EQ(result[0], 0u);
        EXPECT_EQ(poll(VK_QUERY_RESULT_WITH_AVAILABILITY_BIT), VK_SUCCESS);
        EXPECT_EQ(result[1], 1u);
        VK_CHECK(vkDeviceWaitIdle(gpu.device()));
        vkResetQueryPool(gpu.device(), queries, 0, 2);
        EXPECT_EQ(poll(0), VK_NOT_READY);
      };
    };
  };
  File();
  const Counts few = Measure(polls(1), 1);
  const Counts many = Measure(polls(10'000), 1);
  EXPECT_LE(many.round_trips, few.round_trips + 2) << "how often the last polls ask depends on the time";
}

// A timestamp in each submit, read when its fence is signalled: what the first read asks for comes with the others' completion.
TEST_F(CountsTest, QueriesOfEachSubmit) {
  const auto reads = [](uint32_t times) -> Prepare {
    return [times](Context& gpu) {
      VkQueryPoolCreateInfo info = {VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO};
      info.queryType = VK_QUERY_TYPE_TIMESTAMP;
      info.queryCount = 3;
      auto queries = std::make_shared<Owned<VkQueryPool>>(
          Create<VkQueryPool>(gpu.device(), vkCreateQueryPool, vkDestroyQueryPool, info));
      auto pool = std::make_shared<Owned<VkCommandPool>>(MakeCommandPool(gpu));
      const VkCommandBuffer commands = AllocateCommands(gpu, *pool);
      BeginCommands(commands);
      vkCmdResetQueryPool(commands, *queries, 0, 3);
      vkCmdWriteTimestamp(commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, *queries, 1);
      VK_CHECK(vkEndCommandBuffer(commands));
      auto last = std::make_shared<uint64_t>(0);
      return [&gpu, queries, pool, commands, last, times](uint32_t) {
        const Owned<VkFence> done = MakeFence(gpu);
        Submit(gpu, commands, done);
        VK_CHECK(vkWaitForFences(gpu.device(), 1, done.address(), VK_TRUE, UINT64_MAX));
        uint64_t stamp = 0;
        for (uint32_t i = 0; i < times; ++i) {
          VK_CHECK(vkGetQueryPoolResults(gpu.device(), *queries, 1, 1, sizeof(stamp), &stamp, sizeof(stamp),
                                         VK_QUERY_RESULT_64_BIT));
          if (i == 0) {
            EXPECT_GT(stamp, *last) << "of this submit";
            *last = stamp;
          }
          EXPECT_EQ(stamp, *last);
        }
      };
    };
  };
  File();
  const Counts once = Measure(reads(1), 1);
  const Counts often = Measure(reads(10), kMany);
  EXPECT_EQ(once.round_trips, often.round_trips);
}

}  // namespace
}  // namespace vesper::test
