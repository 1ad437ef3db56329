// What finding, encoding, reading and applying changes of mapped memory costs: 16 MiB in which a pattern changed, from the shadow
// to a record (the client's way), and from the record into memory and twin. Rates are of the bytes looked at.
#include <benchmark/benchmark.h>

#include <cstring>
#include <string>
#include <vector>

#include "client/tracking/memcmp_tracker.h"
#include "runtime/wire/control.h"
#include "runtime/wire/decoder.h"
#include "runtime/wire/record.h"

namespace vesper {
namespace {

constexpr size_t kSize = size_t{16} << 20;
constexpr size_t kRecordBytes = 64 * 1024;

struct Pattern {
  const char* name;
  bool (*changes)(size_t at);
};
constexpr Pattern kPatterns[] = {
    {"nothing", [](size_t) { return false; }},
    {"half_of_each_float", [](size_t at) { return at % 4 >= 2; }},
    {"every_fourth_byte", [](size_t at) { return at % 4 == 0; }},
    {"three_of_four_by_chance", [](size_t at) { return (at * 2654435761u >> 13) % 4 != 0; }},
    {"sparse_lines", [](size_t at) { return at / 64 % 16384 == 0; }},
    {"all_but_some_by_chance", [](size_t at) { return (at * 2654435761u >> 13) % 256 != 0; }},
    {"everything", [](size_t) { return true; }},
};

class Changing {
 public:
  explicit Changing(const Pattern& pattern) : tracker_(kSize) {
    for (size_t at = 0; at < kSize; ++at) {
      if (pattern.changes(at)) changing_.push_back(static_cast<uint32_t>(at));
    }
    Change();
    Collect();
  }
  void Change() {
    for (const uint32_t at : changing_) ++tracker_.shadow()[at];
  }
  // One record after the other, as they are sent.
  template <typename Visit>
  void CollectInto(Visit visit) {
    bool begun = false;
    tracker_.Collect(0, kSize, [&](const wire::Changes& changes, size_t) {
      if (!begun) writer_.Begin(1);
      begun = true;
      writer_.Add(changes);
      if (writer_.size() < kRecordBytes) return;
      visit(writer_.Finish());
      begun = false;
    });
    if (begun) visit(writer_.Finish());
  }
  size_t Collect() {
    size_t sent = 0;
    CollectInto([&sent](std::span<const uint8_t> record) { sent += record.size(); });
    return sent;
  }

 private:
  client::MemcmpTracker tracker_;
  wire::RunWriter writer_{static_cast<uint16_t>(wire::Control::kMemoryWrite)};
  std::vector<uint32_t> changing_;
};

void NoteRate(benchmark::State& state, size_t sent) {
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * static_cast<int64_t>(kSize));
  state.counters["sent"] = static_cast<double>(sent);
}

void Find(benchmark::State& state, const Pattern& pattern) {
  Changing memory(pattern);
  size_t sent = 0;
  for (auto round : state) {
    static_cast<void>(round);
    state.PauseTiming();
    memory.Change();
    state.ResumeTiming();
    sent = memory.Collect();
  }
  NoteRate(state, sent);
}

void Apply(benchmark::State& state, const Pattern& pattern) {
  Changing memory(pattern);
  memory.Change();
  std::vector<std::vector<uint8_t>> records;
  size_t sent = 0;
  memory.CollectInto([&](std::span<const uint8_t> record) {
    records.emplace_back(record.begin(), record.end());
    sent += record.size();
  });
  std::vector<uint8_t> target(kSize);
  std::vector<uint8_t> twin(kSize);
  for (auto round : state) {
    static_cast<void>(round);
    for (const auto& record : records) {
      auto rest = std::span(record).subspan(sizeof(wire::RecordHeader));
      const auto head = wire::Load<wire::MemoryRuns>(rest.data());
      rest = rest.subspan(sizeof(head));
      for (uint32_t i = 0; i < head.count; ++i) {
        wire::Run run;
        if (!wire::NextRun(&rest, &run)) return state.SkipWithError("malformed");
        wire::PlaceRun(run, target.data() + run.offset, twin.data() + run.offset);
      }
    }
    benchmark::ClobberMemory();
  }
  NoteRate(state, sent);
}

void RegisterAll() {
  for (const Pattern& pattern : kPatterns) {
    benchmark::RegisterBenchmark((std::string("find/") + pattern.name).c_str(), Find, pattern)
        ->Unit(benchmark::kMillisecond);
    benchmark::RegisterBenchmark((std::string("apply/") + pattern.name).c_str(), Apply, pattern)
        ->Unit(benchmark::kMillisecond);
  }
}

}  // namespace
}  // namespace vesper

int main(int argc, char** argv) {
  vesper::RegisterAll();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
