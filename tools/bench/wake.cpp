#include "tools/bench/wake.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include "tools/bench/samples.h"

namespace vesper::tools::bench {
namespace {

using Clock = std::chrono::steady_clock;

void Stay(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  sched_setaffinity(0, sizeof(set), &set);
}

// Two processors that this process may use; fewer where there are no two.
std::vector<int> Processors() {
  cpu_set_t set;
  std::vector<int> found;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return found;
  for (int i = 0; i < CPU_SETSIZE && found.size() < 2; ++i) {
    if (CPU_ISSET(i, &set)) found.push_back(i);
  }
  return found;
}

struct Bed {
  std::atomic<uint32_t> word{0};
  std::atomic<Clock::rep> woken{0};

  void SleepUntil(uint32_t value) {
    for (uint32_t seen = word; seen < value; seen = word) {
      syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, seen, nullptr, nullptr, 0);
    }
  }
  void Wake(uint32_t value) {
    word = value;
    syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
  }
};

}  // namespace

std::optional<double> WakeMicroseconds(int wakes) {
  const std::vector<int> processors = Processors();
  if (processors.size() < 2) return std::nullopt;
  const auto count = static_cast<uint32_t>(wakes);
  Bed bed;
  std::vector<double> samples;
  std::thread sleeper([&] {
    Stay(processors[0]);
    for (uint32_t i = 1; i <= count; ++i) {
      bed.SleepUntil(i);
      bed.woken = Clock::now().time_since_epoch().count();
    }
  });
  std::thread waker([&] {
    Stay(processors[1]);
    for (uint32_t i = 1; i <= count; ++i) {
      std::this_thread::sleep_for(std::chrono::microseconds(300));  // it sleeps by now
      bed.woken = 0;
      const Clock::rep begin = Clock::now().time_since_epoch().count();
      bed.Wake(i);
      while (bed.woken == 0) std::this_thread::yield();
      samples.push_back(std::chrono::duration<double, std::micro>(Clock::duration(bed.woken - begin)).count());
    }
  });
  sleeper.join();
  waker.join();
  return Summarize(samples).median;
}

}  // namespace vesper::tools::bench
