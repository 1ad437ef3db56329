// What a session did, counted: how often an entry point blocked for a reply, how much travelled, how much changed in mapped
// memory. Printed or written as VESPER_STATS says, and read by tests in the same process.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

#include "generated/vk/commands.h"

namespace vesper::client {

// Counters are relaxed atomics: any thread adds to them without a lock.
struct CommandCounters {
  std::atomic<uint64_t> calls{0};  // by the application, in the whole process; sessions leave it at zero
  std::atomic<uint64_t> round_trips{0};
  std::atomic<uint64_t> bytes_sent{0};
  std::atomic<uint64_t> bytes_received{0};
  std::atomic<uint64_t> stalled_ns{0};  // that callers waited for replies
  // Time that the application's calls took, over all threads, and the longest of them. As `calls`.
  std::atomic<uint64_t> ns{0};
  std::atomic<uint64_t> longest_ns{0};
};

struct Statistics {
  std::atomic<uint64_t> round_trips{0};          // an entry point sent and blocked for its reply; the handshake is one
  std::atomic<uint64_t> waits{0};                // an entry point blocked for a pushed completion
  std::atomic<uint64_t> held_back{0};            // an entry point blocked since the server had enough to do
  std::atomic<uint64_t> bytes_sent{0};           // with framing
  std::atomic<uint64_t> bytes_received{0};       // with framing
  std::atomic<uint64_t> unpacked_sent{0};        // as bytes_sent would be without compression
  std::atomic<uint64_t> unpacked_received{0};    // and bytes_received
  std::atomic<uint64_t> wakes_sent{0};           // a server that slept was woken for what was sent
  std::atomic<uint64_t> wakes_received{0};       // the server did so
  std::atomic<uint64_t> stalled_ns{0};           // time spent blocked, over all threads
  std::atomic<uint64_t> shared_allocations{0};   // of memory that the server maps as well
  std::atomic<uint64_t> tracked_allocations{0};  // of host-visible memory that is kept equal to the server's
  std::atomic<uint64_t> dirty_bytes{0};          // of mapped memory that the application was seen to have changed
  std::atomic<uint64_t> compared_bytes{0};       // of mapped memory that were looked at for that
  std::atomic<uint64_t> blocks_received{0};      // runs of mapped memory that the device changed
  std::atomic<uint64_t> received_bytes{0};       // of mapped memory, in these runs
  std::atomic<uint64_t> uploads{0};              // submits whose fence was answered at once
  std::atomic<uint64_t> frames{0};               // shown, or that would be if anything was
  std::atomic<uint64_t> frame_bytes{0};          // of these received_bytes
  std::array<CommandCounters, kCommandCount> commands;
  std::atomic<const char*> transport{""};  // a constant: what carries the messages, of the last session that began

  void CountSent(Command command, uint64_t bytes) noexcept {
    CommandCounters& counters = commands[static_cast<uint16_t>(command)];
    counters.bytes_sent.fetch_add(bytes, std::memory_order_relaxed);
  }
  void CountReply(Command command, uint64_t bytes, uint64_t waited_ns) noexcept {
    CommandCounters& counters = commands[static_cast<uint16_t>(command)];
    counters.round_trips.fetch_add(1, std::memory_order_relaxed);
    counters.stalled_ns.fetch_add(waited_ns, std::memory_order_relaxed);
    counters.bytes_received.fetch_add(bytes, std::memory_order_relaxed);
  }
  // Adds what `other` counted.
  void Add(const Statistics& other) noexcept;
};

inline void Count(std::atomic<uint64_t>& counter, uint64_t by = 1) noexcept {
  counter.fetch_add(by, std::memory_order_relaxed);
}

// {"round_trips": …, "commands": {"vkCreateBuffer": {…}}}: only commands that were called or sent.
std::string ToJson(const Statistics& statistics);
std::string ToTable(const Statistics& statistics);
// A page for a browser that shows the JSON; it fetches nothing.
std::string ToPage(const Statistics& statistics);

// Everything that this process counted, ended sessions included. Sessions register their counters while they live.
void RegisterStatistics(Statistics* statistics);
void RetireStatistics(Statistics* statistics);
void SumStatistics(Statistics* sum);
// Whether VESPER_STATS asks for statistics: entry points are then given out as those of client/base/counting.h.
bool CountsEntries() noexcept;
void CountEntry(Command command) noexcept;
void TimeEntry(Command command, uint64_t ns) noexcept;
// Does what VESPER_STATS=FILE asks for: JSON, or a page where the file's name ends so. Called at vkDestroyInstance; at exit the library does it by itself.
void WriteStatistics() noexcept;
// In the child of a fork: what the parent counted is not the child's to report.
void ForgetStatisticsAfterFork() noexcept;

}  // namespace vesper::client
