// One fault after the other, at random moments of a program's life, on either side of the line: whatever it is, the program ends in
// time, by itself and with right results or an error; the server serves on, and nothing is left of the session. scripts/faults runs
// it for long (VESPER_FAULT_SECONDS, else 20), under AddressSanitizer where the build has it.
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <stdexcept>

#include "tests/integration/failure.h"
#include "tests/integration/soak_work.h"
#include "tests/support/cut_line.h"
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1  // Clang's name for what GCC calls so
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
#endif

namespace vesper::test {
namespace {

constexpr int kRight = 0, kFailed = 7, kWrong = 9, kLeaks = 23;
constexpr milliseconds kEnds{60'000};                        // whatever happens: many times what it takes
constexpr milliseconds kLongestStop{1500}, kLongStop{8000};  // the grace period is between them

enum class Fault : uint8_t {
  kNone,
  kKillWorker,
  kStopWorker,      // and let it go on before the grace period is over
  kStopWorkerLong,  // and after that
  kStarveWorker,    // no more descriptors
  kFillDisk,        // nothing can be written to files any more, the server's log and shared memory among them
  kKillClient,
  kStopClient,
  kStarveClient,
  kCut,     // the line, in order
  kTear,    // it is reset
  kForget,  // nobody is told
  kForgetAll,
  kKillServer,
  kCount
};
constexpr std::array<const char*, static_cast<size_t>(Fault::kCount)> kNames = {
    "none",      "kill worker", "stop worker", "stop worker for long", "starve worker",
    "fill disk", "kill client", "stop client", "starve client",        "cut",
    "tear",      "forget",      "forget all",  "kill server"};

std::chrono::seconds Duration() {
  const char* text = std::getenv("VESPER_FAULT_SECONDS");
  return std::chrono::seconds(text == nullptr ? 20 : std::max(1, std::atoi(text)));
}

// What a program of several instances comes to.
int RunProgram(unsigned seed) {
  std::mt19937 random(seed);
  try {
    for (int instance = 0; instance < 2; ++instance) WorkOnce(&random);
  } catch (const std::logic_error& error) {
    std::fprintf(stderr, "program %u: %s\n", seed, error.what());
    return kWrong;
  } catch (const std::exception&) {
    return kFailed;
  }
#if defined(__SANITIZE_ADDRESS__)
  if (__lsan_do_recoverable_leak_check() != 0) return kLeaks;
#endif
  return kRight;
}

class FaultsTest : public FailureTest {
 protected:
  void Begin() {
    Start({.arguments = {"--resume-for", "8"}});
    setenv("VESPER_GRACE", "6", 1);
    std::string error;
    line_ = CutLine::To(address(), &error);
    ASSERT_NE(line_, nullptr) << error;
    setenv("VESPER_SERVER", line_->address().c_str(), 1);
  }
  void TearDown() override {
    unsetenv("VESPER_GRACE");
    setenv("VESPER_SERVER", address().c_str(), 1);
    FailureTest::TearDown();
    line_.reset();
  }
  static bool OfALine(Fault fault) { return fault >= Fault::kCut && fault <= Fault::kForgetAll; }
  // Whether the program must not even notice. What happens to a line that is just being used for the first time is an error.
  static bool IsBorne(Fault fault) {
    return fault == Fault::kNone || fault == Fault::kStopWorker || fault == Fault::kStopClient;
  }
  void Cause(Fault fault, pid_t client, std::mt19937* random) {
    const std::vector<pid_t> workers = Workers();
    const pid_t worker = workers.empty() ? 0 : workers.back();
    const auto pause = milliseconds((*random)() % static_cast<unsigned>(kLongestStop.count()));
    const auto stop = [&](pid_t pid, milliseconds time) {
      if (pid == 0) return;
      kill(pid, SIGSTOP);
      std::this_thread::sleep_for(time);
      kill(pid, SIGCONT);
    };
    // Not for ever: who looks for leaks at the end needs some.
    const auto starve = [pause](pid_t pid) {
      rlimit before{};
      if (pid == 0 || prlimit(pid, RLIMIT_NOFILE, nullptr, &before) != 0) return;
      const rlimit few{std::max<rlim_t>(DescriptorsOf(pid), 3), before.rlim_max};
      prlimit(pid, RLIMIT_NOFILE, &few, nullptr);
      std::this_thread::sleep_for(pause);
      prlimit(pid, RLIMIT_NOFILE, &before, nullptr);
    };
    const auto fill = [&](std::initializer_list<pid_t> pids) {
      rlimit before{};
      prlimit(server().pid(), RLIMIT_FSIZE, nullptr, &before);
      const rlimit none{0, before.rlim_max};
      for (const pid_t pid : pids) prlimit(pid, RLIMIT_FSIZE, &none, nullptr);
      std::this_thread::sleep_for(pause);
      for (const pid_t pid : pids) prlimit(pid, RLIMIT_FSIZE, &before, nullptr);
    };
    switch (fault) {
      case Fault::kKillWorker:
        if (worker != 0) kill(worker, SIGKILL);
        break;
      case Fault::kStopWorker:
        stop(worker, pause);
        break;
      case Fault::kStopWorkerLong:
        stop(worker, kLongStop);
        break;
      case Fault::kStarveWorker:
        starve(worker);
        break;
      case Fault::kFillDisk:
        if (worker == 0) break;
        fill({server().pid(), worker});
        break;
      case Fault::kKillClient:
        kill(client, SIGKILL);
        break;
      case Fault::kStopClient:
        stop(client, pause);
        break;
      case Fault::kStarveClient:
        starve(client);
        break;
      case Fault::kCut:
        line_->Cut();
        break;
      case Fault::kTear:
        line_->Tear();
        break;
      case Fault::kForget:
        line_->Forget();
        break;
      case Fault::kForgetAll:
        line_->ForgetAll();
        break;
      case Fault::kKillServer:
        kill(server().pid(), SIGKILL);
        break;
      default:
        break;
    }
  }
  // How the program ended, as a shell counts it; -1 when it did not.
  static int EndOf(pid_t client) {
    int status = 0;
    pid_t ended = 0;
    Within(kEnds, [&] { return (ended = waitpid(client, &status, WNOHANG)) != 0; });
    if (ended == client) return StatusOf(status);
    kill(client, SIGABRT);
    waitpid(client, &status, 0);
    return -1;
  }
  // One program with one fault.
  void Round(unsigned seed) {
    std::mt19937 random(seed);
    const auto fault = static_cast<Fault>(random() % static_cast<unsigned>(Fault::kCount));
    SCOPED_TRACE(std::string(kNames[static_cast<size_t>(fault)]) + ", seed " + std::to_string(seed));
    const pid_t client = fork();
    if (client == 0) _exit(RunProgram(seed));
    const auto moment = milliseconds(random() % longest_);
    const auto begin = Clock::now();
    std::this_thread::sleep_for(moment);
    Cause(fault, client, &random);
    const int end = EndOf(client);
    if (fault == Fault::kNone) {
      const auto took = std::chrono::duration_cast<milliseconds>(Clock::now() - begin);
      longest_ = std::clamp<unsigned>(static_cast<unsigned>(took.count()), 200, 10'000);
    }
    ++ends_[{fault, end}];
    if (fault == Fault::kKillClient) {
      EXPECT_TRUE(end == 128 + SIGKILL || end == kRight) << end;
    } else if (IsBorne(fault)) {
      EXPECT_EQ(end, kRight);
    } else {
      EXPECT_TRUE(end == kRight || end == kFailed)
          << end << ": a hang (-1), a signal (128 and more), a wrong result (9) or leaks";
    }
    if (OfALine(fault)) line_->Mend();
    if (fault == Fault::kKillServer) {
      line_.reset();
      return Begin();
    }
    EXPECT_TRUE(Within(milliseconds(30'000), [&] { return Workers().empty(); })) << "its worker has not ended";
    EXPECT_TRUE(IsAlive(server().pid()));
  }

  std::unique_ptr<CutLine> line_;
  unsigned longest_ = 1000;  // milliseconds that an undisturbed program takes
  std::map<std::pair<Fault, int>, int> ends_;
};

TEST_P(FaultsTest, WhateverHappensEverybodyEndsInOrder) {
  Begin();
  const char* first = std::getenv("VESPER_FAULT_SEED");
  unsigned seed = first == nullptr ? 1 : static_cast<unsigned>(std::strtoul(first, nullptr, 10));
  const auto until = Clock::now() + Duration();
  while (Clock::now() < until && !HasFailure()) Round(seed++);
  for (const auto& [what, times] : ends_) {
    std::printf("%s: %d times, ended with %d\n", kNames[static_cast<size_t>(what.first)], times, what.second);
  }
  EXPECT_EQ(server().Output().find("AddressSanitizer"), std::string::npos) << server().Output();
  EXPECT_EQ(server().Output().find("LeakSanitizer"), std::string::npos) << server().Output();
}

INSTANTIATE_TEST_SUITE_P(Transports, FaultsTest, testing::Values("unix", "tcp", "tls"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace vesper::test
