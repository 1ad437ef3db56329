#include "client/base/statistics.h"

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "client/base/immortal.h"
#include "client/base/limits.h"
#include "runtime/environment.h"
#include "runtime/mutex.h"

namespace vesper::client {
namespace {

struct Registered {
  Mutex mutex;
  std::vector<Statistics*> live VESPER_GUARDED_BY(mutex);
  Statistics ended VESPER_GUARDED_BY(mutex);  // the sum of those that are gone
};

Registered& Everything() {
  static Immortal<Registered> everything;
  return *everything;
}

std::atomic<bool> g_forked{false};
std::array<std::atomic<uint64_t>, kCommandCount> g_entries;

struct Total {
  const char* name;
  std::atomic<uint64_t> Statistics::*counter;
};
constexpr Total kTotals[] = {{"round_trips", &Statistics::round_trips},
                             {"waits", &Statistics::waits},
                             {"held_back", &Statistics::held_back},
                             {"bytes_sent", &Statistics::bytes_sent},
                             {"bytes_received", &Statistics::bytes_received},
                             {"unpacked_sent", &Statistics::unpacked_sent},
                             {"unpacked_received", &Statistics::unpacked_received},
                             {"stalled_ns", &Statistics::stalled_ns},
                             {"shared_allocations", &Statistics::shared_allocations},
                             {"tracked_allocations", &Statistics::tracked_allocations},
                             {"dirty_bytes", &Statistics::dirty_bytes},
                             {"compared_bytes", &Statistics::compared_bytes},
                             {"blocks_received", &Statistics::blocks_received},
                             {"received_bytes", &Statistics::received_bytes},
                             {"frames", &Statistics::frames},
                             {"frame_bytes", &Statistics::frame_bytes}};

const char* Wanted() noexcept { return Setting("VESPER_STATS"); }

unsigned long long Value(const std::atomic<uint64_t>& counter) { return counter.load(std::memory_order_relaxed); }

bool IsUsed(const CommandCounters& counters) { return Value(counters.calls) != 0 || Value(counters.bytes_sent) != 0; }

bool WantsTable(const char* wanted) { return std::strcmp(wanted, "1") == 0; }

__attribute__((destructor)) void ReportAtExit() {
  const char* wanted = Wanted();
  if (wanted == nullptr || g_forked) return;
  if (!WantsTable(wanted)) {
    WriteStatistics();
    return;
  }
  try {
    auto sum = std::make_unique<Statistics>();
    SumStatistics(sum.get());
    std::fputs(ToTable(*sum).c_str(), stderr);
  } catch (const std::bad_alloc&) {
  }
}

}  // namespace

void Statistics::Add(const Statistics& other) noexcept {
  for (const Total& total : kTotals) Count(this->*total.counter, Value(other.*total.counter));
  if (*other.transport.load() != '\0') transport = other.transport.load();
  for (size_t i = 0; i < commands.size(); ++i) {
    Count(commands[i].calls, Value(other.commands[i].calls));
    Count(commands[i].round_trips, Value(other.commands[i].round_trips));
    Count(commands[i].bytes_sent, Value(other.commands[i].bytes_sent));
    Count(commands[i].bytes_received, Value(other.commands[i].bytes_received));
    Count(commands[i].stalled_ns, Value(other.commands[i].stalled_ns));
  }
}

std::string ToJson(const Statistics& statistics) {
  std::string text = "{\n  \"transport\": \"" + std::string(statistics.transport.load()) + "\",\n";
  for (const Total& total : kTotals) {
    text += "  \"" + std::string(total.name) + "\": " + std::to_string(Value(statistics.*total.counter)) + ",\n";
  }
  text += "  \"commands\": {";
  const char* separator = "\n";
  for (size_t i = 0; i < statistics.commands.size(); ++i) {
    const CommandCounters& counters = statistics.commands[i];
    if (!IsUsed(counters)) continue;
    char line[limits::kMaxStatisticsLine];
    std::snprintf(
        line, sizeof(line),
        "%s    \"%s\": {\"calls\": %llu, \"round_trips\": %llu, \"bytes_sent\": %llu, \"bytes_received\": %llu, "
        "\"stalled_ns\": %llu}",
        separator, kCommandNames[i], Value(counters.calls), Value(counters.round_trips), Value(counters.bytes_sent),
        Value(counters.bytes_received), Value(counters.stalled_ns));
    text += line;
    separator = ",\n";
  }
  return text + "\n  }\n}\n";
}

std::string ToTable(const Statistics& statistics) {
  std::string text = "vesper: statistics\n";
  char line[limits::kMaxStatisticsLine];
  std::snprintf(line, sizeof(line), "  %-17s %14s\n", "transport", statistics.transport.load());
  text += line;
  for (const Total& total : kTotals) {
    std::snprintf(line, sizeof(line), "  %-17s %14llu\n", total.name, Value(statistics.*total.counter));
    text += line;
  }
  std::vector<size_t> called;
  for (size_t i = 0; i < statistics.commands.size(); ++i) {
    if (IsUsed(statistics.commands[i])) called.push_back(i);
  }
  std::stable_sort(called.begin(), called.end(), [&](size_t a, size_t b) {
    return Value(statistics.commands[a].round_trips) > Value(statistics.commands[b].round_trips);
  });
  std::snprintf(line, sizeof(line), "  %-46s %10s %11s %14s %14s %12s\n", "command", "calls", "round trips", "sent",
                "received", "waited ms");
  text += line;
  for (const size_t i : called) {
    const CommandCounters& counters = statistics.commands[i];
    std::snprintf(line, sizeof(line), "  %-46s %10llu %11llu %14llu %14llu %12.1f\n", kCommandNames[i],
                  Value(counters.calls), Value(counters.round_trips), Value(counters.bytes_sent),
                  Value(counters.bytes_received), static_cast<double>(Value(counters.stalled_ns)) / 1e6);
    text += line;
  }
  return text;
}

void RegisterStatistics(Statistics* statistics) {
  Registered& everything = Everything();
  const MutexLock lock(everything.mutex);
  everything.live.push_back(statistics);
  g_forked = false;
}

void RetireStatistics(Statistics* statistics) {
  Registered& everything = Everything();
  const MutexLock lock(everything.mutex);
  if (std::erase(everything.live, statistics) != 0) everything.ended.Add(*statistics);
}

void SumStatistics(Statistics* sum) {
  Registered& everything = Everything();
  const MutexLock lock(everything.mutex);
  sum->Add(everything.ended);
  for (const Statistics* each : everything.live) sum->Add(*each);
  for (size_t i = 0; i < kCommandCount; ++i) Count(sum->commands[i].calls, Value(g_entries[i]));
}

bool CountsEntries() noexcept { return Wanted() != nullptr; }

void CountEntry(Command command) noexcept { Count(g_entries[static_cast<uint16_t>(command)]); }

void WriteStatistics() noexcept {
  const char* wanted = Wanted();
  if (wanted == nullptr || WantsTable(wanted) || g_forked) return;
  try {
    auto sum = std::make_unique<Statistics>();
    SumStatistics(sum.get());
    std::FILE* file = std::fopen(wanted, "we");
    if (file == nullptr) return;
    std::fputs(ToJson(*sum).c_str(), file);
    std::fclose(file);
  } catch (const std::bad_alloc&) {
  }
}

void ForgetStatisticsAfterFork() noexcept {
  g_forked = true;
  for (std::atomic<uint64_t>& entries : g_entries) entries = 0;
  static std::byte inherited[sizeof(Registered)];
  // NOLINTNEXTLINE(bugprone-undefined-memory-manipulation): only for tools that look for lost memory to find it here
  std::memcpy(inherited, &Everything(), sizeof(inherited));
  new (&Everything()) Registered;  // over the old one: its lock may be held by a thread that is not here
}

}  // namespace vesper::client
