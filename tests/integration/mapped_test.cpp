// Mapped memory, byte by byte: whatever the application, the kernel and the GPU write, at whatever
// moment, each sees of the others what Vulkan promises. Runs once for each way of finding changes
// (VESPER_MEMORY), as root and as an ordinary user.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <thread>

#include "shaders/await_comp.h"
#include "tests/integration/gpu_test.h"
#include "tests/support/io_uring.h"

namespace vesper::test {
namespace {

constexpr VkDeviceSize kSize = 300'000 / 8 * 8;
constexpr VkBufferUsageFlags kSource = VK_BUFFER_USAGE_TRANSFER_SRC_BIT;
constexpr VkBufferUsageFlags kTarget = VK_BUFFER_USAGE_TRANSFER_DST_BIT;

class MappedTest : public GpuTest {
 protected:
  Buffer Make(VkBufferUsageFlags usage, VkDeviceSize size = kSize) {
    return MakeBuffer(gpu(), size, usage, Placement::kHost);
  }
  void Copy(const Buffer& from, const Buffer& to) {
    RunCommands(gpu(), [&](VkCommandBuffer commands) {
      const VkBufferCopy whole = {0, 0, from.size};
      vkCmdCopyBuffer(commands, from.handle, to.handle, 1, &whole);
      FullBarrier(commands);
    });
  }
  // What the GPU finds in `buffer`.
  std::vector<uint8_t> AsGpuSees(const Buffer& buffer) {
    const Buffer seen = Make(kTarget, buffer.size);
    Copy(buffer, seen);
    const auto bytes = seen.As<uint8_t>();
    return {bytes.begin(), bytes.end()};
  }
  // Commands that can be submitted again and again.
  struct Recorded {
    Owned<VkCommandPool> pool;
    VkCommandBuffer commands;
  };
  template <typename Record>
  Recorded RecordOnce(Record record) {
    Recorded made{MakeCommandPool(gpu()), VK_NULL_HANDLE};
    made.commands = AllocateCommands(gpu(), made.pool);
    BeginCommands(made.commands, VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT);
    record(made.commands);
    FullBarrier(made.commands);
    VK_CHECK(vkEndCommandBuffer(made.commands));
    return made;
  }
};

TEST_F(MappedTest, ThreadsWriteWhileWorkIsSubmitted) {
  constexpr size_t kThreads = 4;
  const Buffer data = Make(kSource);
  const Buffer device = MakeBuffer(gpu(), kSize, kTarget, Placement::kDevice);
  const auto bytes = data.As<uint8_t>();
  std::ranges::fill(bytes, uint8_t{0});
  std::vector<uint8_t> model(kSize, 0);
  const Recorded copy = RecordOnce([&](VkCommandBuffer commands) {
    const VkBufferCopy whole = {0, 0, kSize};
    vkCmdCopyBuffer(commands, data.handle, device.handle, 1, &whole);
  });
  for (uint32_t round = 0; round < 6; ++round) {
    std::atomic<size_t> running{kThreads};
    std::vector<std::thread> writers;
    for (size_t thread = 0; thread < kThreads; ++thread) {
      writers.emplace_back([&, thread] {
        std::mt19937 random(static_cast<uint32_t>(round * kThreads + thread));
        for (uint32_t i = 0; i < 20'000; ++i) {
          const size_t at = random() % (kSize / kThreads) * kThreads + thread;
          std::atomic_ref(bytes[at]).store(model[at] = static_cast<uint8_t>(random()), std::memory_order_relaxed);
        }
        --running;
      });
    }
    while (running != 0) Submit(gpu(), copy.commands, VK_NULL_HANDLE);
    for (std::thread& writer : writers) writer.join();
    VK_CHECK(vkDeviceWaitIdle(this->device()));
    ASSERT_EQ(AsGpuSees(data), model) << "round " << round;
    ASSERT_TRUE(std::ranges::equal(bytes, model));
  }
}

// The GPU writes the first half of every eight bytes while the CPU writes the second.
TEST_F(MappedTest, CpuAndGpuWriteDifferentBytesOfOnePage) {
  constexpr uint32_t kPairs = 1024;  // the validation layer compares each region with each
  const Buffer data = Make(kSource | kTarget, kPairs * 8);
  const Buffer source = MakeBuffer(gpu(), kPairs * 4, kSource | kTarget, Placement::kDevice);
  const auto words = data.As<uint32_t>();
  std::ranges::fill(words, 0u);
  std::vector<uint32_t> model(kPairs, 0);
  std::vector<VkBufferCopy> regions;
  for (uint32_t i = 0; i < kPairs; ++i) regions.push_back({i * 4, i * 8, 4});
  std::mt19937 random(11);
  const Recorded scatter = RecordOnce(
      [&](VkCommandBuffer commands) { vkCmdCopyBuffer(commands, source.handle, data.handle, kPairs, regions.data()); });
  for (uint32_t round = 1; round <= 40; ++round) {
    const Recorded fill = RecordOnce([&](VkCommandBuffer commands) {
      vkCmdFillBuffer(commands, source.handle, 0, VK_WHOLE_SIZE, round * 0x01030507);
    });
    const Owned<VkFence> fence = MakeFence(gpu());
    Submit(gpu(), fill.commands, VK_NULL_HANDLE);
    Submit(gpu(), scatter.commands, fence);
    for (uint32_t i = 0; i < 500; ++i) {
      const size_t at = random() % kPairs;
      std::atomic_ref(words[at * 2 + 1]).store(model[at] = static_cast<uint32_t>(random()));
    }
    WaitFor(gpu(), fence);
    for (uint32_t i = 0; i < kPairs; ++i) {
      ASSERT_EQ(words[i * 2], round * 0x01030507) << "round " << round << ", written by the GPU at " << i;
      ASSERT_EQ(words[i * 2 + 1], model[i]) << "round " << round << ", written by the CPU at " << i;
    }
  }
  const auto seen = AsGpuSees(data);
  EXPECT_EQ(std::memcmp(seen.data(), words.data(), seen.size()), 0);
}

TEST_F(MappedTest, SubRangesMappedAgainAndAgain) {
  const Buffer data = Make(kSource | kTarget);
  vkUnmapMemory(device(), data.memory);
  std::mt19937 random(13);
  std::vector<uint8_t> model(kSize, 0x11);
  RunCommands(gpu(),
              [&](VkCommandBuffer commands) { vkCmdFillBuffer(commands, data.handle, 0, VK_WHOLE_SIZE, 0x11111111); });
  for (uint32_t round = 0; round < 60; ++round) {
    const VkDeviceSize offset = random() % kSize;
    const VkDeviceSize size = 1 + random() % (kSize - offset);
    void* mapped = nullptr;
    VK_CHECK(vkMapMemory(device(), data.memory, offset, size, 0, &mapped));
    auto* bytes = static_cast<uint8_t*>(mapped);
    ASSERT_EQ(std::memcmp(bytes, model.data() + offset, size), 0) << "round " << round;
    for (uint32_t i = 0; i < 50; ++i) {
      const VkDeviceSize at = random() % size;
      bytes[at] = model[offset + at] = static_cast<uint8_t>(random());
    }
    vkUnmapMemory(device(), data.memory);
    if (round % 4 == 0) {  // the GPU writes a part, mapped or not
      const VkDeviceSize from = random() % (kSize / 4) * 4;
      const VkDeviceSize many = std::min<VkDeviceSize>(4 + random() % 5000 / 4 * 4, kSize - from);
      RunCommands(gpu(), [&](VkCommandBuffer commands) {
        vkCmdFillBuffer(commands, data.handle, from, many, round * 0x01010101);
      });
      std::fill_n(model.begin() + static_cast<ptrdiff_t>(from), many, static_cast<uint8_t>(round));
    }
    ASSERT_EQ(AsGpuSees(data), model) << "round " << round;
  }
}

// Memory comes back from the driver with what it held; the application's zeros must overwrite it
// all the same.
TEST_F(MappedTest, ZerosAreWrittenToReusedMemory) {
  for (uint32_t round = 0; round < 20; ++round) {
    {
      const Buffer old = Make(kSource | kTarget);
      RunCommands(gpu(),
                  [&](VkCommandBuffer commands) { vkCmdFillBuffer(commands, old.handle, 0, VK_WHOLE_SIZE, ~0u); });
      ASSERT_EQ(old.As<uint8_t>()[kSize - 1], 0xff);
    }
    const Buffer fresh = Make(kSource);
    std::ranges::fill(fresh.As<uint8_t>(), uint8_t{0});
    ASSERT_EQ(AsGpuSees(fresh), std::vector<uint8_t>(kSize, 0)) << "round " << round;
  }
}

// The GPU stands at an event until the host, polling memory and nothing else, has seen what it
// wrote.
TEST_F(MappedTest, PollsMemoryThatTheGpuWrites) {
  const Buffer data = Make(kTarget, 65536);
  const Buffer flag = Make(kTarget, 256);
  const Buffer answer = Make(kSource, 65536);
  const Buffer copied = Make(kTarget, 65536);
  const VkEventCreateInfo info = {VK_STRUCTURE_TYPE_EVENT_CREATE_INFO};
  const auto event = Create<VkEvent>(device(), vkCreateEvent, vkDestroyEvent, info);
  flag.As<uint32_t>()[0] = 0;
  for (uint32_t round = 1; round <= 20; ++round) {
    const Recorded work = RecordOnce([&](VkCommandBuffer commands) {
      vkCmdFillBuffer(commands, data.handle, 0, VK_WHOLE_SIZE, round);
      FullBarrier(commands);
      vkCmdFillBuffer(commands, flag.handle, 0, 4, round);
      FullBarrier(commands);
      VkMemoryBarrier barrier = {VK_STRUCTURE_TYPE_MEMORY_BARRIER};
      barrier.srcAccessMask = VK_ACCESS_HOST_WRITE_BIT;
      barrier.dstAccessMask = VK_ACCESS_TRANSFER_READ_BIT;
      vkCmdWaitEvents(commands, 1, event.address(), VK_PIPELINE_STAGE_HOST_BIT, VK_PIPELINE_STAGE_TRANSFER_BIT, 1,
                      &barrier, 0, nullptr, 0, nullptr);
      const VkBufferCopy whole = {0, 0, 65536};
      vkCmdCopyBuffer(commands, answer.handle, copied.handle, 1, &whole);
    });
    const Owned<VkFence> fence = MakeFence(gpu());
    Submit(gpu(), work.commands, fence);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (std::atomic_ref(flag.As<uint32_t>()[0]).load() != round && std::chrono::steady_clock::now() < deadline) {
    }
    const bool arrived = std::atomic_ref(flag.As<uint32_t>()[0]).load() == round;
    const bool whole = std::ranges::count(data.As<uint32_t>(), round) == 16384;
    std::ranges::fill(answer.As<uint32_t>(), round * 3);
    VK_CHECK(vkSetEvent(device(), event));  // before any assertion: the GPU waits for it
    WaitFor(gpu(), fence);
    ASSERT_TRUE(arrived) << "the flag of round " << round;
    ASSERT_TRUE(whole) << "what was written before the flag of round " << round;
    ASSERT_EQ(std::ranges::count(copied.As<uint32_t>(), round * 3), 16384);
    VK_CHECK(vkResetEvent(device(), event));
  }
}

// And the other way: a shader polls what the host writes without any call.
// An event, or a query, that the GPU sets after it wrote memory is not seen before that memory.
class MarkedTest : public MappedTest {
 protected:
  void TearDown() override {
    copy_.pool.Reset();
    fence_.Reset();
    MappedTest::TearDown();
  }
  void Round(const Buffer& source, const Buffer& target, uint32_t round, const std::function<void()>& await_mark) {
    const auto from = source.As<uint32_t>();
    for (size_t i = 0; i < from.size(); ++i) from[i] = round * 2654435761u + static_cast<uint32_t>(i);
    Submit(gpu(), copy_.commands, fence_);
    await_mark();
    const auto to = target.As<uint32_t>();
    const auto wrong = std::ranges::mismatch(from, to).in1 - from.begin();
    EXPECT_EQ(static_cast<size_t>(wrong), from.size()) << "round " << round << ": the mark came first";
  }
  static void BarrierToHost(VkCommandBuffer commands) {
    const VkMemoryBarrier barrier = {VK_STRUCTURE_TYPE_MEMORY_BARRIER, nullptr, VK_ACCESS_TRANSFER_WRITE_BIT,
                                     VK_ACCESS_HOST_READ_BIT};
    vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &barrier, 0,
                         nullptr, 0, nullptr);
  }
  void RecordCopy(const Buffer& source, const Buffer& target, const std::function<void(VkCommandBuffer)>& mark) {
    fence_ = MakeFence(gpu());
    copy_ = RecordOnce([&](VkCommandBuffer commands) {
      const VkBufferCopy whole = {0, 0, source.size};
      vkCmdCopyBuffer(commands, source.handle, target.handle, 1, &whole);
      BarrierToHost(commands);
      mark(commands);
    });
  }

  Recorded copy_;
  Owned<VkFence> fence_;
};

TEST_F(MarkedTest, AnEventIsSeenAfterTheMemoryBeforeIt) {
  const VkEventCreateInfo info = {VK_STRUCTURE_TYPE_EVENT_CREATE_INFO};
  const auto ready = Create<VkEvent>(device(), vkCreateEvent, vkDestroyEvent, info);
  const auto changed = Create<VkEvent>(device(), vkCreateEvent, vkDestroyEvent, info);
  for (const VkDeviceSize size : {VkDeviceSize{4}, VkDeviceSize{4096}, VkDeviceSize{1} << 20}) {
    const Buffer source = Make(kSource, size), target = Make(kTarget | kSource, size), result = Make(kTarget, size);
    RecordCopy(source, target, [&](VkCommandBuffer commands) {  // and what the host made of it goes on
      vkCmdSetEvent(commands, ready, VK_PIPELINE_STAGE_TRANSFER_BIT);
      const VkMemoryBarrier host = {VK_STRUCTURE_TYPE_MEMORY_BARRIER, nullptr, VK_ACCESS_HOST_WRITE_BIT,
                                    VK_ACCESS_TRANSFER_READ_BIT};
      vkCmdWaitEvents(commands, 1, changed.address(), VK_PIPELINE_STAGE_HOST_BIT, VK_PIPELINE_STAGE_TRANSFER_BIT, 1,
                      &host, 0, nullptr, 0, nullptr);
      const VkBufferCopy whole = {0, 0, size};
      vkCmdCopyBuffer(commands, target.handle, result.handle, 1, &whole);
    });
    for (uint32_t round = 1; round <= 20; ++round) {
      Round(source, target, round, [&] {
        while (vkGetEventStatus(device(), ready) == VK_EVENT_RESET) {
        }
      });
      for (uint32_t& word : target.As<uint32_t>()) word = ~word;
      VK_CHECK(vkSetEvent(device(), changed));
      WaitFor(gpu(), fence_);
      EXPECT_TRUE(std::ranges::equal(source.As<uint32_t>(), result.As<uint32_t>(), {}, std::bit_not<uint32_t>{}));
      VK_CHECK(vkResetFences(device(), 1, fence_.address()));
      VK_CHECK(vkResetEvent(device(), ready));
      VK_CHECK(vkResetEvent(device(), changed));
    }
  }
}

TEST_F(MarkedTest, AQueryIsAvailableAfterTheMemoryBeforeIt) {
  if (gpu().queue_family_properties().timestampValidBits == 0) GTEST_SKIP() << "no timestamps";
  VkQueryPoolCreateInfo info = {VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO};
  info.queryType = VK_QUERY_TYPE_TIMESTAMP;
  info.queryCount = 1;
  const auto pool = Create<VkQueryPool>(device(), vkCreateQueryPool, vkDestroyQueryPool, info);
  const Buffer source = Make(kSource, 1 << 20), target = Make(kTarget, 1 << 20);
  RecordCopy(source, target, [&](VkCommandBuffer commands) {
    vkCmdWriteTimestamp(commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, pool, 0);
  });
  for (uint32_t round = 1; round <= 20; ++round) {
    vkResetQueryPool(device(), pool, 0, 1);
    Round(source, target, round, [&] {
      uint64_t result = 0;
      while (vkGetQueryPoolResults(device(), pool, 0, 1, sizeof result, &result, sizeof result,
                                   VK_QUERY_RESULT_64_BIT) == VK_NOT_READY) {
      }
    });
    WaitFor(gpu(), fence_);
    VK_CHECK(vkResetFences(device(), 1, fence_.address()));
  }
}

TEST_F(MappedTest, TheGpuPollsMemoryThatTheHostWrites) {
  const Buffer data = Make(VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, 4096);
  const auto words = data.As<uint32_t>();
  std::ranges::fill(words, 0u);
  const Buffer* buffers[] = {&data};
  const Kernel kernel = MakeKernel(gpu(), await_comp, buffers);
  const Recorded work = RecordOnce([&](VkCommandBuffer commands) {
    kernel.Bind(commands);
    vkCmdDispatch(commands, 20'000, 1, 1);
  });
  const Owned<VkFence> fence = MakeFence(gpu());
  Submit(gpu(), work.commands, fence);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  std::atomic_ref(words[0]).store(4711);
  WaitFor(gpu(), fence);
  EXPECT_EQ(words[1], 4711u);
}

// --- the kernel as a writer
// ----------------------------------------------------------------------------------------------

// A file of random bytes, removed with the object.
class SourceFile {
 public:
  explicit SourceFile(size_t size) : path_("/var/tmp/vesper-mapped-" + std::to_string(getpid())), bytes_(size) {
    std::mt19937 random(17);
    for (uint8_t& byte : bytes_) byte = static_cast<uint8_t>(random());
    const int file = open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0 || write(file, bytes_.data(), size) != static_cast<ssize_t>(size)) bytes_.clear();
    if (file >= 0) close(file);
  }
  ~SourceFile() { unlink(path_.c_str()); }
  int Open(int flags) const { return open(path_.c_str(), flags | O_CLOEXEC); }
  const std::vector<uint8_t>& bytes() const { return bytes_; }

 private:
  const std::string path_;
  std::vector<uint8_t> bytes_;
};

constexpr size_t kFile = 256 * 1024;

TEST_F(MappedTest, ReadAndWriteWithMappedMemory) {
  const SourceFile source(kFile);
  const Buffer data = Make(kSource, kFile);
  const int file = source.Open(O_RDWR);
  ASSERT_GE(file, 0);
  ASSERT_EQ(read(file, data.mapped, kFile), static_cast<ssize_t>(kFile)) << std::strerror(errno);
  ASSERT_EQ(AsGpuSees(data), source.bytes());
  const Buffer result = Make(kTarget, kFile);
  RunCommands(
      gpu(), [&](VkCommandBuffer commands) { vkCmdFillBuffer(commands, result.handle, 0, VK_WHOLE_SIZE, 0x2a2a2a2a); });
  ASSERT_EQ(pwrite(file, result.mapped, kFile, 0), static_cast<ssize_t>(kFile)) << std::strerror(errno);
  ASSERT_EQ(pread(file, data.mapped, kFile, 0), static_cast<ssize_t>(kFile));
  ASSERT_EQ(AsGpuSees(data), std::vector<uint8_t>(kFile, 0x2a));
  close(file);
}

TEST_F(MappedTest, DirectIo) {
  const SourceFile source(kFile);
  const int file = source.Open(O_RDONLY | O_DIRECT);
  if (file < 0) GTEST_SKIP() << "O_DIRECT on /var/tmp: " << std::strerror(errno);
  const Buffer data = Make(kSource, kFile);
  for (uint32_t round = 0; round < 10; ++round) {
    std::ranges::fill(data.As<uint8_t>(), uint8_t{1});
    std::atomic<bool> reading{true};
    std::thread reader([&] {
      EXPECT_EQ(pread(file, data.mapped, kFile, 0), static_cast<ssize_t>(kFile)) << std::strerror(errno);
      reading = false;
    });
    while (reading) RunCommands(gpu(), [](VkCommandBuffer) {});  // triggers, while the pages are pinned
    reader.join();
    ASSERT_EQ(AsGpuSees(data), source.bytes()) << "round " << round;
  }
  close(file);
}

TEST_F(MappedTest, IoUring) {
  const SourceFile source(kFile);
  const Buffer data = Make(kSource, kFile);
  IoUring ring;
  if (!ring.ok()) GTEST_SKIP() << "io_uring: " << ring.error();
  const int file = source.Open(O_RDONLY);
  ASSERT_GE(file, 0);
  ASSERT_EQ(ring.Read(file, data.mapped, kFile), static_cast<int>(kFile)) << ring.error();
  ASSERT_EQ(AsGpuSees(data), source.bytes());
  if (!ring.RegisterBuffer(data.mapped, kFile)) GTEST_SKIP() << "fixed buffers: " << ring.error();
  for (uint32_t round = 0; round < 10; ++round) {
    std::ranges::fill(data.As<uint8_t>(), static_cast<uint8_t>(round));
    ASSERT_EQ(AsGpuSees(data), std::vector<uint8_t>(kFile, static_cast<uint8_t>(round)));
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    ASSERT_EQ(ring.ReadFixed(file, data.mapped, kFile), static_cast<int>(kFile)) << ring.error();
    ASSERT_EQ(AsGpuSees(data), source.bytes()) << "round " << round;
  }
  close(file);
}

// --- other processes
// -----------------------------------------------------------------------------------------------------

// A child gets the bytes as they were, or zeros where they are shared with the server, and cannot
// disturb the parent's.
TEST_F(MappedTest, ForkWithMappedMemory) {
  const Buffer data = Make(kSource | kTarget);
  RunCommands(gpu(),
              [&](VkCommandBuffer commands) { vkCmdFillBuffer(commands, data.handle, 0, VK_WHOLE_SIZE, 0x05050505); });
  const auto bytes = data.As<uint8_t>();
  bytes[0] = 1;
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    bool right = bytes[0] == 1;
    for (size_t i = 1; i < kSize; ++i) right = right && bytes[i] == 5;
    right = right || std::ranges::count(bytes, 0) == static_cast<ptrdiff_t>(kSize);
    std::ranges::fill(bytes, uint8_t{99});
    _exit(right ? 0 : 1);
  }
  bytes[1] = 2;
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0) << "the child saw other bytes";
  bytes[2] = 3;
  std::vector<uint8_t> expected(kSize, 5);
  expected[0] = 1;
  expected[1] = 2;
  expected[2] = 3;
  EXPECT_EQ(AsGpuSees(data), expected);
  EXPECT_TRUE(std::ranges::equal(bytes, expected));
}

// Everything above by a user without privileges: what the kernel lets it do is less.
TEST(MappedAsUserTest, OrdinaryUser) {
  if (getuid() != 0) GTEST_SKIP() << "the others ran as an ordinary user";
  constexpr int kUnreadable = 77;
  constexpr uid_t kNobody = 65534;
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const char* manifest = std::getenv("VK_ICD_FILENAMES");
    if (setgid(kNobody) != 0 || setuid(kNobody) != 0) _exit(kUnreadable);
    if (manifest != nullptr && access(manifest, R_OK) != 0) _exit(kUnreadable);
    execl("/proc/self/exe", "mapped_tests", "--gtest_filter=MappedTest.*", nullptr);
    _exit(kUnreadable);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == kUnreadable) GTEST_SKIP() << "nobody may not read this build";
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace vesper::test
