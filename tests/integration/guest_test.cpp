// Programs of guests, with a Unix socket in place of a port and the host's file in place of the guest's memory device: what a
// hostile guest can do to others, what is left of a killed program, and what becomes of programs when the memory is full.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <random>

#include "runtime/descriptor.h"
#include "tests/integration/failure.h"
#include "tests/support/statistics_file.h"

namespace vesper::test {
namespace {

namespace fs = std::filesystem;

constexpr VkBufferUsageFlags kBothWays = VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT;

// Through memory of the device and back. Whether all that arrived is what was sent.
bool CopiesExactly(Context& context, uint32_t seed) {
  constexpr uint32_t kWords = 20000;
  const Buffer source = MakeBuffer(context, kWords * 4, kBothWays, Placement::kHost);
  const Buffer middle = MakeBuffer(context, kWords * 4, kBothWays, Placement::kDevice);
  const Buffer target = MakeBuffer(context, kWords * 4, kBothWays, Placement::kHost);
  std::iota(source.As<uint32_t>().begin(), source.As<uint32_t>().end(), seed);
  RunCommands(context, [&](VkCommandBuffer commands) {
    const VkBufferCopy whole = {0, 0, kWords * 4};
    vkCmdCopyBuffer(commands, source.handle, middle.handle, 1, &whole);
    FullBarrier(commands);
    vkCmdCopyBuffer(commands, middle.handle, target.handle, 1, &whole);
    FullBarrier(commands);
  });
  return std::ranges::equal(source.As<uint32_t>(), target.As<uint32_t>());
}

// Stores anything anywhere in what a guest sees of the file, most often where rings are, but not into the first unit: by the label
// there its programs know the memory, and without it they would use none.
[[noreturn]] void Scribble(const std::string& path) {
  constexpr size_t kUnit = size_t{2} << 20;
  const int file = open(path.c_str(), O_RDWR | O_CLOEXEC);
  struct stat status {};
  if (file < 0 || fstat(file, &status) != 0) _exit(97);
  const size_t size = static_cast<size_t>(status.st_size) - kUnit;
  void* const all = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, kUnit);
  if (all == MAP_FAILED) _exit(96);
  std::mt19937_64 random(7);
  for (;;) {
    const size_t unit = (1 + random() % (size / kUnit - 1)) * kUnit;
    const size_t at = unit + (random() % 2 == 0 ? random() % 4096 : random() % kUnit);
    const uint64_t value = random() % 2 == 0 ? random() : random() % 4096 * 16;
    static_cast<std::atomic<uint64_t>*>(all)[at / 8].store(value);
    if (random() % 64 == 0) usleep(1);
  }
}

class GuestTest : public FailureTest {
 protected:
  void SetUp() override {
    FailureTest::SetUp();
    char folder[] = "/dev/shm/vesper-test-XXXXXX";
    ASSERT_NE(mkdtemp(folder), nullptr);
    folder_ = folder;
    RemoteServer::Options options;
    options.arguments = {"--guest", "one,memory=24,ports=8", "--guest", "two,memory=24,ports=8", "--guest-folder",
                         folder_};
    Start(options);
  }
  void TearDown() override {
    FailureTest::TearDown();
    if (folder_.empty()) return;
    for (const char* name : {"one", "two"}) EXPECT_FALSE(fs::exists(folder_ + "/" + name + ".sock"));
    fs::remove_all(folder_);
  }
  // From now on this process is one of that guest.
  void BeIn(const std::string& guest) {
    const std::string address = "guest:" + folder_ + "/" + guest + ".sock," + FileOf(guest);
    for (const auto& [name, value] : server().ClientEnvironment(address)) setenv(name.c_str(), value.c_str(), 1);
  }
  std::string FileOf(const std::string& guest) const { return folder_ + "/" + guest + ".mem"; }
  // How many ranges of the guest's file processes of the server hold.
  size_t HeldOf(const std::string& guest) const {
    struct stat status {};
    EXPECT_EQ(stat(FileOf(guest).c_str(), &status), 0);
    std::ifstream locks("/proc/locks");
    const std::string inode = ":" + std::to_string(status.st_ino) + " ";
    size_t held = 0;
    for (std::string line; std::getline(locks, line);) held += line.find(inode) != std::string::npos;
    return held;
  }

  std::string folder_;
};

// VESPER_TEST_ROUNDS: for minutes instead of seconds.
TEST_P(GuestTest, AScribblingGuestHurtsOnlyItself) {
  const char* wanted = std::getenv("VESPER_TEST_ROUNDS");
  const int rounds = wanted == nullptr ? 4 : std::atoi(wanted);
  const pid_t guest = fork();
  if (guest == 0) {
    BeIn("one");
    const auto work = [](uint32_t times) {
      const pid_t program = fork();
      if (program == 0) {
        RunAsChild([times] {
          Context context;
          bool exact = true;
          for (uint32_t i = 0; i < times; ++i) exact &= CopiesExactly(context, i);
          return exact ? 0 : 1;
        });
      }
      return program;
    };
    const pid_t hostile = fork();
    if (hostile == 0) Scribble(FileOf("one"));
    for (int i = 0; i < rounds; ++i) {
      // Several at once, each with rings, shared words and memory of its own, all of which is written over.
      const std::array<pid_t, 3> programs = {work(1000), work(1000), work(1000)};
      Within(milliseconds(1000), [] { return false; });
      for (const pid_t program : programs) kill(program, SIGKILL);
      for (const pid_t program : programs) waitpid(program, nullptr, 0);
    }
    kill(hostile, SIGKILL);
    waitpid(hostile, nullptr, 0);
    int status = -1;
    waitpid(work(5), &status, 0);
    _exit(StatusOf(status));
  }
  BeIn("two");
  int ends[2];  // the other program of that guest works until the pipe is closed
  ASSERT_EQ(pipe(ends), 0);
  const pid_t beside = fork();
  if (beside == 0) {
    close(ends[1]);
    RunAsChild([&] {
      alarm(static_cast<unsigned>(30 + 10 * rounds));
      Context context;
      pollfd entry{ends[0], POLLIN, 0};
      uint32_t times = 0;
      while (poll(&entry, 1, 0) == 0) {
        if (!CopiesExactly(context, 7 * ++times)) return 1;
      }
      return times > 3 ? 0 : 2;
    });
  }
  close(ends[0]);
  int status = -1;
  {
    Context context;
    uint32_t times = 0;
    while (waitpid(guest, &status, WNOHANG) == 0) ASSERT_TRUE(CopiesExactly(context, ++times));
    EXPECT_EQ(StatusOf(status), 0) << "when nobody scribbles any more, that guest is served as ever";
    EXPECT_GE(times, 3u);
  }
  close(ends[1]);
  waitpid(beside, &status, 0);
  EXPECT_EQ(StatusOf(status), 0);
  EXPECT_TRUE(IsAlive(server().pid()));
  // Those of the hostile guest too had rings in the memory that was written over, in each round.
  const std::string log = server().Output();
  int rings = 0;
  for (size_t at = 0; (at = log.find(", ring)", at)) != std::string::npos; ++at) ++rings;
  EXPECT_GE(rings, 2 + rounds);
  // Not one worker has crashed, of whichever guest: what makes no sense ends a session in order.
  EXPECT_FALSE(LogSays("ended with signal", milliseconds(0)));
  EXPECT_FALSE(LogSays("Sanitizer", milliseconds(0)));
}

TEST_P(GuestTest, AKilledProgramLeavesNothing) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t program = fork();
  if (program == 0) {
    BeIn("one");
    RunAsChild([&] {
      Context context;
      std::vector<Buffer> buffers;
      for (int i = 0; i < 4; ++i) buffers.push_back(MakeBuffer(context, 3 << 20, kBothWays, Placement::kHost));
      for (const Buffer& buffer : buffers) std::memset(buffer.mapped, 0xa5, 3 << 20);
      if (write(ends[1], "x", 1) != 1) return 1;
      pause();
      return 0;
    });
  }
  char ready;
  ASSERT_EQ(read(ends[0], &ready, 1), 1);
  EXPECT_GT(HeldOf("one"), 0u);
  EXPECT_EQ(HeldOf("two"), 0u);
  kill(program, SIGKILL);
  waitpid(program, nullptr, 0);
  EXPECT_TRUE(Within(milliseconds(10000), [this] { return HeldOf("one") == 0; }));
  const StatisticsFile counts;
  BeIn("one");
  {
    Context context;
    for (int i = 0; i < 4; ++i) {
      const Buffer buffer = MakeBuffer(context, 3 << 20, kBothWays, Placement::kHost);
      EXPECT_TRUE(std::ranges::all_of(buffer.As<uint32_t>(), [](uint32_t word) { return word == 0; }))
          << "memory of someone before";
      std::memset(buffer.mapped, 0x5a, 3 << 20);
    }
  }
  EXPECT_EQ(counts.Total("tracked_allocations"), 0u);
  EXPECT_GE(counts.Total("shared_allocations"), 4u);
  for (const int end : ends) close(end);
}

TEST_P(GuestTest, WhereTheMemoryIsFullProgramsGoOn) {
  const StatisticsFile counts;
  BeIn("one");
  {
    Context context;
    std::vector<Buffer> buffers;
    for (uint32_t i = 0; i < 10; ++i) {
      buffers.push_back(MakeBuffer(context, 4 << 20, kBothWays, Placement::kHost));
      std::ranges::fill(buffers[i].As<uint32_t>(), i + 1);
    }
    RunCommands(context, [&](VkCommandBuffer commands) {
      const VkBufferCopy half = {0, 2 << 20, 2 << 20};
      for (uint32_t i = 0; i + 1 < buffers.size(); ++i) {
        vkCmdCopyBuffer(commands, buffers[i].handle, buffers[i + 1].handle, 1, &half);
      }
      FullBarrier(commands);
    });
    for (uint32_t i = 1; i < buffers.size(); ++i) {
      ASSERT_EQ(buffers[i].As<uint32_t>().front(), i + 1);
      ASSERT_EQ(buffers[i].As<uint32_t>().back(), i);
    }
  }
  EXPECT_GE(counts.Total("shared_allocations"), 4u);
  EXPECT_GE(counts.Total("tracked_allocations"), 4u);
  Context again;
  EXPECT_TRUE(CopiesExactly(again, 3));
}

// A worker that is killed leaves a program behind that has its memory mapped and does not know yet: nobody else gets that memory until
// the server sees that no port of the machine can be such a program's.
TEST_P(GuestTest, MemoryOfAKilledWorkerIsNobodysUntilItsProgramIsGone) {
  int ends[2], back[2];
  ASSERT_EQ(pipe(ends), 0);
  ASSERT_EQ(pipe(back), 0);
  const pid_t program = fork();
  if (program == 0) {
    BeIn("one");
    RunAsChild([&] {
      Context context;
      const Buffer buffer = MakeBuffer(context, 6 << 20, kBothWays, Placement::kHost);
      const auto words = buffer.As<uint32_t>();
      std::ranges::fill(words, 0x11111111u);
      char go;
      if (write(ends[1], "x", 1) != 1 || read(back[0], &go, 1) != 1) return 1;
      // As if it had noticed nothing: it writes on while the other program works.
      const bool own = std::ranges::all_of(words, [](uint32_t word) { return word == 0x11111111u || word == 0; });
      std::ranges::fill(words, 0x22222222u);
      if (write(ends[1], "x", 1) != 1 || read(back[0], &go, 1) != 1) return 1;
      _exit(own ? 0 : 2);
    });
  }
  char ready;
  ASSERT_EQ(read(ends[0], &ready, 1), 1);
  const size_t before = HeldOf("one");
  EXPECT_GT(before, 0u);
  const std::vector<pid_t> workers = Workers();
  ASSERT_EQ(workers.size(), 1u);
  kill(workers.front(), SIGKILL);
  EXPECT_TRUE(
      Within(milliseconds(10000), [&] { return !IsAlive(workers.front()) && LogSays("ended with", milliseconds(0)); }));
  EXPECT_EQ(HeldOf("one"), before);
  BeIn("one");
  {
    Context context;
    std::vector<Buffer> buffers;
    for (int i = 0; i < 3; ++i) {
      buffers.push_back(MakeBuffer(context, 3 << 20, kBothWays, Placement::kHost));
      std::ranges::fill(buffers.back().As<uint32_t>(), 0x33333333u);
    }
    ASSERT_EQ(write(back[1], "x", 1), 1);
    ASSERT_EQ(read(ends[0], &ready, 1), 1);
    for (const Buffer& buffer : buffers) {
      EXPECT_TRUE(std::ranges::all_of(buffer.As<uint32_t>(), [](uint32_t word) { return word == 0x33333333u; }))
          << "the program before wrote into it";
    }
    EXPECT_TRUE(CopiesExactly(context, 5));
  }
  EXPECT_TRUE(Within(milliseconds(10000), [this] { return Workers().empty(); }));
  EXPECT_GE(HeldOf("one"), before) << "the program still lives";
  ASSERT_EQ(write(back[1], "x", 1), 1);
  int status = -1;
  waitpid(program, &status, 0);
  EXPECT_EQ(StatusOf(status), 0);
  // All ports are connected again, and in none has anybody read what is said first: nobody has one open.
  std::vector<Descriptor> ports;
  for (int i = 0; i < 8; ++i) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    const std::string path = folder_ + "/one.sock";
    path.copy(static_cast<char*>(name.sun_path), sizeof(name.sun_path) - 1);
    ports.emplace_back(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(connect(ports.back().get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)), 0);
  }
  EXPECT_TRUE(Within(milliseconds(10000), [this] { return HeldOf("one") == 0; }));
  for (const int end : {ends[0], ends[1], back[0], back[1]}) close(end);
}

INSTANTIATE_TEST_SUITE_P(Ports, GuestTest, testing::Values("unix"));

}  // namespace
}  // namespace vesper::test
