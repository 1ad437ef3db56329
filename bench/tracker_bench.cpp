// What looking for changes costs per trigger: 64 MiB of mapped memory of which nothing, one page in each MiB, or everything was
// written since the last time. Run it with --benchmark_filter=uffd and the like.
#include <benchmark/benchmark.h>

#include <string>

#include "client/tracking/tracker.h"

namespace vesper::client {
namespace {

constexpr uint64_t kSize = uint64_t{64} << 20;

void Collect(benchmark::State& state, TrackerKind kind, uint64_t step) {
  std::string why;
  if (!Affords(kind, &why)) return state.SkipWithError(why.c_str());
  const auto tracker = MakeTracker(kind, kSize);
  if (tracker == nullptr) return state.SkipWithError("no memory");
  uint64_t sent = 0;
  const auto sink = [&sent](const wire::Changes&, size_t count) { sent += count; };
  for (uint64_t at = 0; at < kSize; at += 4096) tracker->shadow()[at] = 1;
  tracker->Collect(0, kSize, sink);
  uint8_t value = 1;
  for (auto round : state) {
    static_cast<void>(round);
    state.PauseTiming();
    ++value;
    for (uint64_t at = 0; step != 0 && at < kSize; at += step) tracker->shadow()[at] = value;
    state.ResumeTiming();
    tracker->Collect(0, kSize, sink);
  }
  state.counters["bytes"] = benchmark::Counter(static_cast<double>(sent), benchmark::Counter::kAvgIterations);
}

void RegisterAll() {
  struct Case {
    const char* name;
    uint64_t step;
  };
  for (const TrackerKind kind : {TrackerKind::kUffd, TrackerKind::kHash, TrackerKind::kMemcmp}) {
    for (const Case& each : {Case{"nothing", 0}, Case{"sparse", uint64_t{1} << 20}, Case{"every_page", 4096}}) {
      const std::string name = std::string(NameOf(kind)) + "/" + each.name;
      benchmark::RegisterBenchmark(name.c_str(), Collect, kind, each.step)->Unit(benchmark::kMicrosecond);
    }
  }
}

}  // namespace
}  // namespace vesper::client

int main(int argc, char** argv) {
  vesper::client::RegisterAll();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
