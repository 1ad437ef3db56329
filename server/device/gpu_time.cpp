#include "server/device/gpu_time.h"

#include <algorithm>
#include <vector>

#include "runtime/mutex.h"

namespace vesper::server {
namespace {

using Clock = std::chrono::steady_clock;

struct Runs {
  Mutex mutex;
  std::vector<Clock::time_point> begun VESPER_GUARDED_BY(mutex);  // the epoch: a free place
  std::chrono::nanoseconds done VESPER_GUARDED_BY(mutex){0};
};

// Never destroyed: queues may end after main().
Runs& All() {
  static Runs* const runs = new Runs;
  return *runs;
}

}  // namespace

GpuRun::GpuRun() {
  Runs& runs = All();
  const MutexLock lock(runs.mutex);
  const auto free = std::find(runs.begun.begin(), runs.begun.end(), Clock::time_point{});
  place_ = static_cast<size_t>(free - runs.begun.begin());
  if (free == runs.begun.end()) runs.begun.emplace_back();
  runs.begun[place_] = Clock::now();
}

GpuRun::~GpuRun() {
  Runs& runs = All();
  const MutexLock lock(runs.mutex);
  runs.done += Clock::now() - runs.begun[place_];
  runs.begun[place_] = {};
}

uint64_t GpuNanoseconds() {
  Runs& runs = All();
  const MutexLock lock(runs.mutex);
  std::chrono::nanoseconds all = runs.done;
  for (const Clock::time_point begun : runs.begun) {
    if (begun != Clock::time_point{}) all += Clock::now() - begun;
  }
  return static_cast<uint64_t>(all.count());
}

std::chrono::nanoseconds LongestGpuRun() {
  Runs& runs = All();
  const MutexLock lock(runs.mutex);
  std::chrono::nanoseconds longest{0};
  for (const Clock::time_point begun : runs.begun) {
    if (begun != Clock::time_point{}) longest = std::max<std::chrono::nanoseconds>(longest, Clock::now() - begun);
  }
  return longest;
}

}  // namespace vesper::server
