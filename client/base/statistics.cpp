#include "client/base/statistics.h"

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>
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
// What the application called.
struct Entries {
  std::atomic<uint64_t> calls, ns, longest_ns;
};
std::array<Entries, kCommandCount> g_entries;

// What a browser makes of the numbers in between.
constexpr char kPageHead[] = R"(<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Vesper: statistics</title><style>
body{font:14px sans-serif;margin:2em;color:#222}table{border-collapse:collapse}td,th{padding:2px 10px;text-align:right}
th{cursor:pointer;border-bottom:1px solid #888}td:first-child,th:first-child{text-align:left}tr:nth-child(even){background:#f4f4f4}
.bar{display:inline-block;height:9px;background:#4878a8}dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 16px}
dd{margin:0}</style></head><body><h1>What this program asked of its GPU</h1><dl id="totals"></dl>
<p>A click on a column sorts by it. Times are of the application's calls, over all threads.</p><table id="table"></table>
<noscript>This page needs scripts; its numbers are in its source.</noscript>
<script type="application/json" id="statistics">)";
constexpr char kPageTail[] = R"(</script><script>
const s=JSON.parse(document.getElementById('statistics').textContent),n=x=>x.toLocaleString('en');
const time=x=>(x/1e6).toFixed(3)+' ms',size=x=>x>1e6?(x/1e6).toFixed(1)+' MB':x>1e4?(x/1e3).toFixed(1)+' kB':n(x)+' B';
const shown={stalled_ns:['blocked',time],bytes_sent:['sent',size],bytes_received:['received',size],
dirty_bytes:['memory written by the program',size],received_bytes:['memory written by the GPU',size]};
for(const [key,value] of Object.entries(s)){if(key=='commands')continue;const [name,how]=shown[key]||[key.replaceAll('_',' '),n];
const dt=document.createElement('dt'),dd=document.createElement('dd');dt.textContent=name;
dd.textContent=typeof value=='number'?how(value):value;document.getElementById('totals').append(dt,dd)}
const columns=[['command',null],['calls',n],['ns',time],['longest_ns',time],['stalled_ns',time],['round_trips',n],['bytes_sent',size],
['bytes_received',size]],titles=['command','calls','time','longest','waited','round trips','sent','received'];
const rows=Object.entries(s.commands).map(([command,c])=>({command,...c}));
function draw(by){rows.sort((a,b)=>by=='command'?a.command.localeCompare(b.command):b[by]-a[by]);
const table=document.getElementById('table');table.replaceChildren();const head=table.insertRow();
columns.forEach(([key],i)=>{const th=document.createElement('th');th.textContent=titles[i];th.onclick=()=>draw(key);head.append(th)});
head.append(document.createElement('th'));const most=Math.max(1,...rows.map(r=>by=='command'?0:r[by]));
for(const r of rows){const tr=table.insertRow();for(const [key,how] of columns)tr.insertCell().textContent=how?how(r[key]):r[key];
const bar=document.createElement('span');bar.className='bar';bar.style.width=(by=='command'?0:200*r[by]/most)+'px';
const cell=tr.insertCell();cell.style.textAlign='left';cell.append(bar)}}
draw('ns');</script></body></html>
)";

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
                             {"wakes_sent", &Statistics::wakes_sent},
                             {"wakes_received", &Statistics::wakes_received},
                             {"stalled_ns", &Statistics::stalled_ns},
                             {"shared_allocations", &Statistics::shared_allocations},
                             {"tracked_allocations", &Statistics::tracked_allocations},
                             {"dirty_bytes", &Statistics::dirty_bytes},
                             {"compared_bytes", &Statistics::compared_bytes},
                             {"blocks_received", &Statistics::blocks_received},
                             {"received_bytes", &Statistics::received_bytes},
                             {"uploads", &Statistics::uploads},
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
    Count(commands[i].ns, Value(other.commands[i].ns));
    commands[i].longest_ns = std::max(Value(commands[i].longest_ns), Value(other.commands[i].longest_ns));
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
        "\"stalled_ns\": %llu, \"ns\": %llu, \"longest_ns\": %llu}",
        separator, kCommandNames[i], Value(counters.calls), Value(counters.round_trips), Value(counters.bytes_sent),
        Value(counters.bytes_received), Value(counters.stalled_ns), Value(counters.ns), Value(counters.longest_ns));
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
  std::snprintf(line, sizeof(line), "  %-46s %10s %11s %14s %14s %12s %12s %12s\n", "command", "calls", "round trips",
                "sent", "received", "waited ms", "ms", "longest");
  text += line;
  for (const size_t i : called) {
    const CommandCounters& counters = statistics.commands[i];
    const auto ms = [](const std::atomic<uint64_t>& ns) { return static_cast<double>(Value(ns)) * 1e-6; };
    std::snprintf(line, sizeof(line), "  %-46s %10llu %11llu %14llu %14llu %12.3f %12.3f %12.3f\n", kCommandNames[i],
                  Value(counters.calls), Value(counters.round_trips), Value(counters.bytes_sent),
                  Value(counters.bytes_received), ms(counters.stalled_ns), ms(counters.ns), ms(counters.longest_ns));
    text += line;
  }
  return text;
}

std::string ToPage(const Statistics& statistics) { return kPageHead + ToJson(statistics) + kPageTail; }

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
  for (size_t i = 0; i < kCommandCount; ++i) {
    Count(sum->commands[i].calls, Value(g_entries[i].calls));
    Count(sum->commands[i].ns, Value(g_entries[i].ns));
    sum->commands[i].longest_ns = Value(g_entries[i].longest_ns);
  }
}

bool CountsEntries() noexcept { return Wanted() != nullptr; }

void CountEntry(Command command) noexcept { Count(g_entries[static_cast<uint16_t>(command)].calls); }

void TimeEntry(Command command, uint64_t ns) noexcept {
  Entries& entries = g_entries[static_cast<uint16_t>(command)];
  Count(entries.ns, ns);
  uint64_t longest = entries.longest_ns.load(std::memory_order_relaxed);
  while (ns > longest && !entries.longest_ns.compare_exchange_weak(longest, ns, std::memory_order_relaxed)) {
  }
}

void WriteStatistics() noexcept {
  const char* wanted = Wanted();
  if (wanted == nullptr || WantsTable(wanted) || g_forked) return;
  try {
    auto sum = std::make_unique<Statistics>();
    SumStatistics(sum.get());
    std::FILE* file = std::fopen(wanted, "we");
    if (file == nullptr) return;
    const bool page = std::string_view(wanted).ends_with(".html");
    std::fputs((page ? ToPage(*sum) : ToJson(*sum)).c_str(), file);
    std::fclose(file);
  } catch (const std::bad_alloc&) {
  }
}

void ForgetStatisticsAfterFork() noexcept {
  g_forked = true;
  for (Entries& entries : g_entries) entries.calls = entries.ns = entries.longest_ns = 0;
  static std::byte inherited[sizeof(Registered)];
  // NOLINTNEXTLINE(bugprone-undefined-memory-manipulation): only for tools that look for lost memory to find it here
  std::memcpy(inherited, &Everything(), sizeof(inherited));
  new (&Everything()) Registered;  // over the old one: its lock may be held by a thread that is not here
}

}  // namespace vesper::client
