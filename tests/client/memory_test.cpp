// Protects: exactly the bytes that the application wrote travel, ahead of the trigger, and what the device wrote never
// overwrites them.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "client/tracking/tracker.h"
#include "runtime/wire/decoder.h"
#include "runtime/wire/memory_runs.h"
#include "tests/client/fixture.h"
#include "tests/support/changed_bytes.h"
#include "tests/support/io_uring.h"

namespace vesper::client {
namespace {

constexpr uint64_t kSize = 64 * 1024 + 100;

// Each way of finding changes, where this machine affords it.
class TrackerTest : public testing::TestWithParam<TrackerKind> {
 protected:
  void SetUp() override {
    std::string why;
    if (!Affords(GetParam(), &why)) GTEST_SKIP() << NameOf(GetParam()) << ": " << why;
  }
  static std::unique_ptr<Tracker> Make(uint64_t size) { return MakeTracker(GetParam(), size); }
  // Collects everything into `server`; the number of bytes that travelled.
  static uint64_t Collect(Tracker* tracker, std::vector<uint8_t>* server) {
    uint64_t sent = 0;
    tracker->Collect(0, tracker->size(), [&](const wire::Changes& changes, size_t count) {
      ForEachStretch(changes, [&](uint64_t offset, std::span<const uint8_t> bytes) {
        for (const uint8_t byte : bytes) {
          EXPECT_NE((*server)[offset], byte) << "an unchanged byte travelled";
          (*server)[offset++] = byte;
        }
      });
      sent += count;
    });
    return sent;
  }
};

TEST_P(TrackerTest, SendsExactlyWhatChanged) {
  std::mt19937 random(7);
  const auto below = [&](uint64_t bound) { return std::uniform_int_distribution<uint64_t>(0, bound - 1)(random); };
  const auto tracker = Make(kSize);
  ASSERT_NE(tracker, nullptr);
  std::vector<uint8_t> server(kSize, 0);     // what a server would hold
  std::vector<uint8_t> reference(kSize, 0);  // what the application sees
  for (int round = 0; round < 300; ++round) {
    uint64_t changed = 0;
    const std::vector<uint8_t> before = reference;
    for (uint64_t writes = below(20); writes > 0; --writes) {
      const uint64_t at = below(kSize);
      const uint64_t size = std::min(kSize - at, 1 + below(below(2) == 0 ? 10 : 9000));
      const auto value = static_cast<uint8_t>(below(4));
      std::memset(reference.data() + at, value, size);
      std::memset(tracker->shadow() + at, value, size);
    }
    for (uint64_t i = 0; i < kSize; ++i) changed += reference[i] != before[i] ? 1u : 0u;
    if (below(3) == 0) {  // the device writes elsewhere at the same time
      const std::string bytes(1 + below(200), static_cast<char>(below(250)));
      const uint64_t at = below(kSize - bytes.size());
      bool untouched = true;
      for (uint64_t i = at; i < at + bytes.size(); ++i) untouched = untouched && reference[i] == before[i];
      if (untouched) {
        ASSERT_TRUE(tracker->Apply(RunOf(at, {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()})));
        std::memcpy(reference.data() + at, bytes.data(), bytes.size());
        std::memcpy(server.data() + at, bytes.data(), bytes.size());
      }
    }
    ASSERT_EQ(Collect(tracker.get(), &server), changed);
    ASSERT_EQ(server, reference);
    ASSERT_EQ(std::memcmp(tracker->shadow(), reference.data(), kSize), 0);
  }
}

// Much of the device's at once, over pages that the application wrote and did not: its own bytes travel, the others do not.
TEST_P(TrackerTest, WhatTheDeviceWroteInBulkIsNoChange) {
  const auto tracker = Make(kSize);
  ASSERT_NE(tracker, nullptr);
  std::vector<uint8_t> server(kSize, 0);
  for (uint8_t round = 1; round < 20; ++round) {
    const std::vector<uint8_t> first(60'000, round);
    const std::vector<uint8_t> second(40'000, static_cast<uint8_t>(round + 100));
    tracker->shadow()[5000] = round;    // below what the device writes
    tracker->shadow()[62'000] = round;  // in its last page, behind it
    tracker->shadow()[65'000] = round;
    ASSERT_TRUE(tracker->Apply(RunOf(10, std::span(first).first(4990))));
    ASSERT_TRUE(tracker->Apply(RunOf(5001, std::span(first).first(55'000))));
    ASSERT_TRUE(tracker->Apply(RunOf(20'000, second)));
    tracker->shadow()[30'000] = static_cast<uint8_t>(round + 50);  // after it
    std::memset(server.data() + 10, round, 4990);
    std::memset(server.data() + 5001, round, 55'000);
    std::memset(server.data() + 20'000, round + 100, second.size());
    ASSERT_EQ(Collect(tracker.get(), &server), 4u);
    ASSERT_EQ(std::memcmp(tracker->shadow(), server.data(), kSize), 0);
    ASSERT_EQ(Collect(tracker.get(), &server), 0u);
  }
}

// The runs of one record, some beside each other, some with holes, one of another memory's size: what the application wrote
// between them travels, and nothing else.
TEST_P(TrackerTest, RunsOfOneRecordArePlacedTogether) {
  constexpr uint64_t kLarge = uint64_t{1} << 20;
  const auto tracker = Make(kLarge);
  ASSERT_NE(tracker, nullptr);
  std::vector<uint8_t> server(kLarge, 0);
  std::mt19937 random(17);
  for (uint8_t round = 1; round < 30; ++round) {
    const std::vector<uint8_t> bytes(60'000, round);
    std::vector<uint16_t> holes;
    for (uint16_t at = 7; at < bytes.size(); at = static_cast<uint16_t>(at + 250 + random() % 9)) holes.push_back(at);
    const std::span listed(reinterpret_cast<const uint8_t*>(holes.data()), holes.size() * sizeof(uint16_t));
    std::vector<wire::Run> runs;
    uint64_t mine = 0;
    for (uint64_t at = random() % 5000; at + bytes.size() < kLarge; at += bytes.size() + random() % 3 * 5000) {
      runs.push_back(RunOf(at, bytes));
      if (random() % 3 != 0) runs.back().holes = listed;
      for (const uint16_t hole : holes) {
        if (runs.back().holes.empty() || random() % 4 != 0) continue;
        ++tracker->shadow()[at + hole];
        ++server[at + hole];
        ++mine;
      }
      wire::ForEachPiece(runs.back(), [&](uint64_t offset, std::span<const uint8_t> piece) {
        std::memcpy(server.data() + offset, piece.data(), piece.size());
      });
    }
    const size_t within = runs.size();
    runs.insert(runs.begin() + 1, RunOf(kLarge - 100, bytes));
    ASSERT_EQ(tracker->Apply(runs).size(), within);
    std::vector<uint8_t> found(kLarge, 0);
    ASSERT_EQ(Collect(tracker.get(), &found), mine);
    ASSERT_EQ(std::memcmp(tracker->shadow(), server.data(), kLarge), 0);
    ASSERT_EQ(Collect(tracker.get(), &found), 0u);
  }
}

// Memory that is rewritten wholly again and again, and then no more: nothing is missed, by ranges either.
TEST_P(TrackerTest, RowsOfRewritingsEnd) {
  constexpr uint64_t kLarge = uint64_t{2} << 20;
  std::mt19937 random(11);
  const auto tracker = Make(kLarge);
  ASSERT_NE(tracker, nullptr);
  std::vector<uint8_t> server(kLarge, 0);
  for (int row = 0; row < 3; ++row) {
    for (int round = 0; round < 5; ++round) {
      for (uint64_t at = 0; at < kLarge; ++at) ++tracker->shadow()[at];
      ASSERT_EQ(Collect(tracker.get(), &server), kLarge);
    }
    for (int round = 0; round < 5; ++round) {
      ++tracker->shadow()[random() % kLarge];
      if (round == 1) {
        uint64_t sent = 0;
        tracker->Collect(4096, kLarge / 2, [&](const wire::Changes& changes, size_t count) {
          ForEachStretch(changes, [&](uint64_t offset, std::span<const uint8_t> bytes) {
            std::memcpy(server.data() + offset, bytes.data(), bytes.size());
          });
          sent += count;
        });
        ASSERT_EQ(Collect(tracker.get(), &server) + sent, 1u);
        continue;
      }
      ASSERT_EQ(Collect(tracker.get(), &server), 1u) << round;
      ASSERT_EQ(Collect(tracker.get(), &server), 0u) << round;
    }
  }
  EXPECT_EQ(std::memcmp(tracker->shadow(), server.data(), kLarge), 0);
}

TEST_P(TrackerTest, CollectsOnlyTheRange) {
  const auto tracker = Make(kSize);
  std::memset(tracker->shadow(), 1, kSize);
  uint64_t sent = 0;
  const auto count = [&](const wire::Changes& changes, size_t) {
    EXPECT_GE(changes.offset, 5000u);
    EXPECT_LE(changes.offset + changes.bytes.size(), 15'000u);
    ForEachStretch(changes, [&](uint64_t, std::span<const uint8_t> bytes) { sent += bytes.size(); });
  };
  tracker->Collect(5000, 10'000, count);
  EXPECT_EQ(sent, 10'000u);
  tracker->Collect(5000, 10'000, count);
  EXPECT_EQ(sent, 10'000u) << "nothing changed since";
  tracker->Collect(kSize, 10, count);
  tracker->Collect(kSize + 10, UINT64_MAX, count);
  EXPECT_EQ(sent, 10'000u);
  std::vector<uint8_t> server(kSize, 0);
  std::memset(server.data() + 5000, 1, 10'000);
  EXPECT_EQ(Collect(tracker.get(), &server), kSize - 10'000) << "the rest of pages that were collected in part";
}

TEST_P(TrackerTest, RefusesBytesBeyondTheMemory) {
  const auto tracker = Make(100);
  const std::vector<uint8_t> bytes(10, 1);
  EXPECT_FALSE(tracker->Apply(RunOf(91, bytes)));
  EXPECT_FALSE(tracker->Apply(RunOf(UINT64_MAX - 2, bytes)));
  EXPECT_TRUE(tracker->Apply(RunOf(90, bytes)));
}

// No write is lost whatever moment a collection falls into: threads count upwards in bytes of their own while another collects.
TEST_P(TrackerTest, ThreadsWriteWhileItCollects) {
  constexpr size_t kThreads = 4;
  const auto tracker = Make(kSize);
  std::vector<uint8_t> server(kSize, 0);
  std::vector<std::vector<uint8_t>> models(kThreads, std::vector<uint8_t>(kSize, 0));
  std::atomic<size_t> running{kThreads};
  std::vector<std::thread> threads;
  for (size_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      std::mt19937 random(static_cast<uint32_t>(thread));
      std::vector<uint8_t>& model = models[thread];
      for (int i = 0; i < 30'000; ++i) {
        const size_t at = (random() % (kSize / kThreads)) * kThreads + thread;
        const auto value = static_cast<uint8_t>(random());
        model[at] = value;
        std::atomic_ref(tracker->shadow()[at]).store(value, std::memory_order_relaxed);
      }
      --running;
    });
  }
  const auto collect = [&] {
    tracker->Collect(0, kSize, [&](const wire::Changes& changes, size_t) {
      ForEachStretch(changes, [&](uint64_t offset, std::span<const uint8_t> bytes) {
        std::memcpy(server.data() + offset, bytes.data(), bytes.size());
      });
    });
  };
  while (running != 0) collect();
  for (std::thread& thread : threads) thread.join();
  collect();
  for (size_t i = 0; i < kSize; ++i) ASSERT_EQ(server[i], models[i % kThreads][i]) << i;
}

TEST_P(TrackerTest, SeesWhatTheKernelWrites) {
  const auto tracker = Make(kSize);
  std::vector<uint8_t> server(kSize, 0);
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  for (uint8_t round = 1; round <= 20; ++round) {
    const std::vector<uint8_t> bytes(5000, round);
    ASSERT_EQ(write(ends[1], bytes.data(), bytes.size()), 5000);
    ASSERT_EQ(read(ends[0], tracker->shadow() + 3000, 5000), 5000);
    ASSERT_EQ(Collect(tracker.get(), &server), 5000u);
    ASSERT_EQ(write(ends[1], tracker->shadow() + 3000, 5000), 5000) << "write(2) reads mapped memory";
    std::vector<uint8_t> back(5000);
    ASSERT_EQ(read(ends[0], back.data(), back.size()), 5000);
    ASSERT_EQ(back, bytes);
  }
  close(ends[0]);
  close(ends[1]);
}

// Fixed buffers of io_uring are pinned once and written later without a fault: no page is reported.
TEST_P(TrackerTest, SeesWhatIoUringWritesToFixedBuffers) {
  const auto tracker = Make(kSize);
  std::vector<uint8_t> server(kSize, 0);
  test::IoUring ring;
  if (!ring.ok()) GTEST_SKIP() << "io_uring: " << ring.error();
  const int file = memfd_create("source", MFD_CLOEXEC);
  ASSERT_GE(file, 0);
  ASSERT_TRUE(ring.RegisterBuffer(tracker->shadow(), 65536)) << ring.error();
  EXPECT_EQ(Collect(tracker.get(), &server), 0u);
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  for (uint8_t round = 1; round <= 50; ++round) {
    const std::vector<uint8_t> bytes(65536, round);
    ASSERT_EQ(pwrite(file, bytes.data(), bytes.size(), 0), 65536);
    const size_t at = 4096u * (round % 15u) + 7;
    ASSERT_EQ(ring.ReadFixed(file, tracker->shadow() + at, 4000), 4000) << ring.error();
    ASSERT_EQ(Collect(tracker.get(), &server), 4000u) << "round " << int{round};
  }
  EXPECT_EQ(std::memcmp(server.data(), tracker->shadow(), kSize), 0);
  close(file);
}

TEST_P(TrackerTest, UntouchedMemoryIsNotAllocated) {
  constexpr uint64_t kLarge = uint64_t{256} << 20;
  const auto resident = [] {
    std::ifstream statm("/proc/self/statm");
    uint64_t total = 0;
    uint64_t pages = 0;
    statm >> total >> pages;
    return pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  };
  const uint64_t before = resident();
  const auto tracker = Make(kLarge);
  for (uint64_t at = 0; at < kLarge; at += kLarge / 16) tracker->shadow()[at] = 1;
  uint64_t sent = 0;
  tracker->Collect(0, kLarge, [&](const wire::Changes&, size_t count) { sent += count; });
  EXPECT_EQ(sent, 16u);
  if (GetParam() == TrackerKind::kUffd) {
    EXPECT_LT(resident() - before, uint64_t{8} << 20) << "the twin has what was touched";
  }
}

INSTANTIATE_TEST_SUITE_P(All, TrackerTest,
                         testing::Values(TrackerKind::kUffd, TrackerKind::kHash, TrackerKind::kMemcmp),
                         [](const auto& info) { return std::string(NameOf(info.param)); });

// VESPER_MEMORY for one test.
class Wanted {
 public:
  explicit Wanted(const char* value) { setenv("VESPER_MEMORY", value, 1); }
  ~Wanted() { unsetenv("VESPER_MEMORY"); }
};

TEST(ChosenTracker, FollowsTheEnvironmentWhereItCan) {
  std::string why;
  const TrackerKind best = Affords(TrackerKind::kUffd, &why) ? TrackerKind::kUffd : TrackerKind::kHash;
  EXPECT_EQ((Wanted("hash"), ChosenTracker()), TrackerKind::kHash);
  EXPECT_EQ((Wanted("memcmp"), ChosenTracker()), TrackerKind::kMemcmp);
  EXPECT_EQ((Wanted("auto"), ChosenTracker()), best);
  EXPECT_EQ((Wanted("uffd"), ChosenTracker()), best);
}

TEST(ChosenTracker, SaysOnceWhatItCannotFollow) {
  const Wanted wanted("fastest");
  testing::internal::CaptureStderr();
  ChosenTracker();
  ChosenTracker();
  const std::string said = testing::internal::GetCapturedStderr();
  const size_t first = said.find("VESPER_MEMORY=fastest");
  EXPECT_NE(first, std::string::npos) << said;
  EXPECT_EQ(said.find("VESPER_MEMORY", first + 1), std::string::npos) << said;
}

class MemoryTest : public ClientFixture {
 protected:
  VkDeviceMemory Allocate(uint64_t size, uint32_t type = 0) {
    VkMemoryAllocateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
    info.allocationSize = size;
    info.memoryTypeIndex = type;
    VkDeviceMemory memory = VK_NULL_HANDLE;
    EXPECT_EQ(overrides::AllocateMemory(device(), &info, nullptr, &memory), VK_SUCCESS);
    return memory;
  }
  uint8_t* Map(VkDeviceMemory memory, uint64_t offset = 0, uint64_t size = VK_WHOLE_SIZE) {
    void* data = nullptr;
    EXPECT_EQ(overrides::MapMemory(device(), memory, offset, size, 0, &data), VK_SUCCESS);
    return static_cast<uint8_t*>(data);
  }
  // What kMemoryWrite records have put into `size` bytes so far.
  std::vector<uint8_t> Written(size_t size) {
    std::vector<uint8_t> result(size, 0);
    for (const Received& record : server_.Records(static_cast<uint16_t>(wire::Control::kMemoryWrite))) {
      std::span<const uint8_t> body = record.body;
      const auto runs = wire::Load<wire::MemoryRuns>(body.data());
      body = body.subspan(sizeof(runs));
      for (uint32_t i = 0; i < runs.count; ++i) {
        wire::Run run;
        EXPECT_TRUE(wire::NextRun(&body, &run));
        wire::ForEachPiece(run, [&](uint64_t offset, std::span<const uint8_t> bytes) {
          std::memcpy(result.data() + offset, bytes.data(), bytes.size());
        });
      }
      EXPECT_TRUE(body.empty());
    }
    return result;
  }
  VkBuffer MakeBuffer(VkBufferUsageFlags usage) {
    VkBufferCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO;
    info.size = 1000;
    info.usage = usage;
    VkBuffer buffer = VK_NULL_HANDLE;
    EXPECT_EQ(overrides::CreateBuffer(device(), &info, nullptr, &buffer), VK_SUCCESS);
    return buffer;
  }
  uint64_t dirty() { return session_.statistics().dirty_bytes; }
};

TEST_F(MemoryTest, WritesPrecedeTheSubmit) {
  const VkDeviceMemory memory = Allocate(kSize);
  uint8_t* data = Map(memory);
  data[3] = 1;
  data[4] = 2;
  data[60'000] = 3;
  ASSERT_EQ(overrides::QueueSubmit(queue(), 0, nullptr, VK_NULL_HANDLE), VK_SUCCESS);
  ASSERT_TRUE(server_.AwaitRecords(static_cast<uint16_t>(Command::kQueueSubmit), 1));
  const auto written = Written(kSize);
  EXPECT_EQ(written[3], 1);
  EXPECT_EQ(written[4], 2);
  EXPECT_EQ(written[60'000], 3);
  EXPECT_EQ(dirty(), 3u);
  ASSERT_EQ(overrides::QueueSubmit(queue(), 0, nullptr, VK_NULL_HANDLE), VK_SUCCESS);
  EXPECT_EQ(dirty(), 3u) << "nothing changed, nothing travels";
}

TEST_F(MemoryTest, WhatTheDeviceWroteIsThereWhenItsCompletionIs) {
  const VkDeviceMemory memory = Allocate(kSize);
  uint8_t* data = Map(memory);
  for (uint64_t round = 1; round <= 200; ++round) {
    ASSERT_EQ(overrides::QueueSubmit(queue(), 0, nullptr, VK_NULL_HANDLE), VK_SUCCESS);
    const std::string bytes = std::to_string(1000 + round);
    data[99] = static_cast<uint8_t>(round);  // the application's neighbour byte, written meanwhile
    server_.ChangeMemory(IdOf(memory), 100, bytes);
    Complete(round);
    ASSERT_EQ(overrides::QueueWaitIdle(queue()), VK_SUCCESS);
    ASSERT_EQ(std::memcmp(data + 100, bytes.data(), bytes.size()), 0);
    ASSERT_EQ(data[99], static_cast<uint8_t>(round));
  }
  EXPECT_EQ(session_.statistics().blocks_received, 200u);
  EXPECT_EQ(dirty(), 199u) << "what the device wrote is never sent back; the last write was not submitted";
}

TEST_F(MemoryTest, SubRangesAreMappedWhereTheyLie) {
  const VkDeviceMemory memory = Allocate(kSize);
  uint8_t* data = Map(memory, 5000, 100);
  std::memset(data, 9, 100);
  overrides::UnmapMemory(device(), memory);
  session_.connection().Flush();
  ASSERT_TRUE(server_.AwaitRecords(static_cast<uint16_t>(wire::Control::kMemoryUnmapped), 1));
  const auto written = Written(kSize);
  for (size_t i = 0; i < kSize; ++i) ASSERT_EQ(written[i], i >= 5000 && i < 5100 ? 9 : 0) << i;
}

TEST_F(MemoryTest, ContentsSurviveUnmapping) {
  const VkDeviceMemory memory = Allocate(kSize);
  Map(memory)[7] = 42;
  overrides::UnmapMemory(device(), memory);
  EXPECT_EQ(Map(memory)[7], 42);
  overrides::FreeMemory(device(), memory, nullptr);
}

// A map waits only for what the device may have written since the client knew the memory.
TEST_F(MemoryTest, MapsFetchOnlyWhatMayHaveChanged) {
  const auto submit = [this] { ASSERT_EQ(overrides::QueueSubmit(queue(), 0, nullptr, VK_NULL_HANDLE), VK_SUCCESS); };
  const auto fetches = [this] { return server_.Records(static_cast<uint16_t>(wire::Control::kMemoryFetch)).size(); };
  const auto remap = [this](VkDeviceMemory memory, uint64_t offset, uint64_t size) {
    Map(memory, offset, size);
    overrides::UnmapMemory(device(), memory);
  };
  const VkDeviceMemory memory = Allocate(kSize);
  const VkDeviceMemory upload = Allocate(kSize);
  const VkBuffer written = MakeBuffer(VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_STORAGE_BUFFER_BIT);
  const VkBuffer read = MakeBuffer(VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_VERTEX_BUFFER_BIT);
  const uint64_t before = round_trips();
  remap(memory, 0, VK_WHOLE_SIZE);
  ASSERT_EQ(overrides::BindBufferMemory(device(), written, memory, 4096), VK_SUCCESS);
  ASSERT_EQ(overrides::BindBufferMemory(device(), read, upload, 0), VK_SUCCESS);
  remap(memory, 0, 100);
  EXPECT_EQ(fetches(), 0u) << "nothing was submitted";
  submit();
  Complete(1);
  ASSERT_EQ(overrides::QueueWaitIdle(queue()), VK_SUCCESS);
  remap(upload, 0, VK_WHOLE_SIZE);
  remap(memory, 0, 4096);
  EXPECT_EQ(fetches(), 0u) << "the device cannot write there";
  remap(memory, 0, 4097);
  EXPECT_EQ(fetches(), 1u);
  remap(memory, 0, 4097);
  EXPECT_EQ(fetches(), 1u) << "known since the last map";
  remap(memory, 4096, 100);
  EXPECT_EQ(fetches(), 2u) << "not all of that was mapped";
  Map(memory);
  submit();
  overrides::UnmapMemory(device(), memory);  // with work pending: what it writes is not sent any more
  remap(memory, 4096, 1);
  EXPECT_EQ(fetches(), 4u);
  EXPECT_EQ(round_trips() - before, fetches()) << "and nothing else waits";
}

TEST_F(MemoryTest, WhatTheDeviceMayWriteIsSaidBeforeItIsBound) {
  const VkDeviceMemory memory = Allocate(kSize);
  const VkBuffer written = MakeBuffer(VK_BUFFER_USAGE_TRANSFER_DST_BIT);
  const VkBuffer read = MakeBuffer(VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT);
  const auto writable = [this](size_t binds = 2) {
    session_.connection().Flush();
    server_.AwaitRecords(static_cast<uint16_t>(Command::kBindBufferMemory), binds);
    return server_.Records(static_cast<uint16_t>(wire::Control::kMemoryWritable));
  };
  ASSERT_EQ(overrides::BindBufferMemory(device(), read, memory, 0), VK_SUCCESS);
  ASSERT_EQ(overrides::BindBufferMemory(device(), written, memory, 8192), VK_SUCCESS);
  ASSERT_EQ(writable().size(), 1u);
  const auto range = wire::Load<wire::MemoryRange>(writable()[0].body.data());
  EXPECT_EQ(range.memory, IdOf(memory));
  EXPECT_EQ(range.offset, 8192u);
  EXPECT_EQ(range.size, 1000u);
  ASSERT_EQ(overrides::BindBufferMemory(device(), written, memory, 8192), VK_SUCCESS);
  EXPECT_EQ(writable(3).size(), 1u) << "said once";
  overrides::QueueBindSparse(queue(), 0, nullptr, VK_NULL_HANDLE);
  session_.connection().Flush();
  server_.AwaitRecords(static_cast<uint16_t>(Command::kQueueBindSparse), 1);
  EXPECT_EQ(writable().size(), 2u) << "from a sparse binding on it may write anything";
}

// Programs poll: what they wrote meanwhile travels although nobody triggers it, as long as work is outstanding and no longer.
TEST_F(MemoryTest, WritesTravelWhileWorkIsOutstanding) {
  const VkDeviceMemory memory = Allocate(kSize);
  uint8_t* data = Map(memory);
  ASSERT_EQ(overrides::QueueSubmit(queue(), 0, nullptr, VK_NULL_HANDLE), VK_SUCCESS);
  for (uint8_t round = 1; round <= 5; ++round) {
    data[round] = round;
    ASSERT_TRUE(server_.AwaitRecords(static_cast<uint16_t>(wire::Control::kMemoryWrite), round));
  }
  Complete(1);
  ASSERT_EQ(overrides::QueueWaitIdle(queue()), VK_SUCCESS);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  data[77] = 1;
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(dirty(), 5u);
}

TEST_F(MemoryTest, NonCoherentMemoryTravelsWhenFlushed) {
  const VkDeviceMemory memory = Allocate(kSize, 1);
  uint8_t* data = Map(memory);
  data[10] = 1;
  data[5000] = 2;
  ASSERT_EQ(overrides::QueueSubmit(queue(), 0, nullptr, VK_NULL_HANDLE), VK_SUCCESS);
  EXPECT_EQ(dirty(), 0u);
  VkMappedMemoryRange range{};
  range.sType = VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE;
  range.memory = memory;
  range.size = 4096;
  ASSERT_EQ(overrides::FlushMappedMemoryRanges(device(), 1, &range), VK_SUCCESS);
  EXPECT_EQ(dirty(), 1u);
  range.offset = 4096;
  range.size = VK_WHOLE_SIZE;
  ASSERT_EQ(overrides::FlushMappedMemoryRanges(device(), 1, &range), VK_SUCCESS);
  EXPECT_EQ(dirty(), 2u);
  ASSERT_EQ(overrides::InvalidateMappedMemoryRanges(device(), 1, &range), VK_SUCCESS);
  EXPECT_EQ(server_.Records(static_cast<uint16_t>(wire::Control::kMemoryFetch)).size(), 0u) << "nothing can write it";
  ASSERT_EQ(overrides::BindBufferMemory(device(), MakeBuffer(VK_BUFFER_USAGE_TRANSFER_DST_BIT), memory, 8192),
            VK_SUCCESS);
  ASSERT_EQ(overrides::QueueSubmit(queue(), 0, nullptr, VK_NULL_HANDLE), VK_SUCCESS);
  ASSERT_EQ(overrides::InvalidateMappedMemoryRanges(device(), 1, &range), VK_SUCCESS);
  EXPECT_EQ(server_.Records(static_cast<uint16_t>(wire::Control::kMemoryFetch)).size(), 1u) << "work is under way";
  Complete(1);
  Complete(2);
  ASSERT_EQ(overrides::QueueWaitIdle(queue()), VK_SUCCESS);
  ASSERT_EQ(overrides::InvalidateMappedMemoryRanges(device(), 1, &range), VK_SUCCESS);
  EXPECT_EQ(server_.Records(static_cast<uint16_t>(wire::Control::kMemoryFetch)).size(), 1u)
      << "it came with the completion";
}

TEST_F(MemoryTest, ThreadsThatSubmitSeeEachOthersWritesAhead) {
  const VkDeviceMemory memory = Allocate(kSize);
  uint8_t* data = Map(memory);
  Queue* second = AddQueue();
  std::vector<std::thread> threads;
  for (Queue* each : {&queue_, second}) {
    threads.emplace_back([this, each, data, at = each == second ? 8 : 0] {
      for (uint64_t i = 1; i <= 300; ++i) {
        std::memcpy(data + at, &i, sizeof(i));
        overrides::QueueSubmit(ToHandle<VkQueue>(each), 0, nullptr, VK_NULL_HANDLE);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE(server_.AwaitRecords(static_cast<uint16_t>(Command::kQueueSubmit), 600));
  EXPECT_EQ(std::memcmp(Written(kSize).data(), data, 16), 0);
}

}  // namespace
}  // namespace vesper::client
