// How far the client is ahead of its server, as the time that the server will take: the commands that it has not executed yet,
// each at what the server says that such a command has cost it lately. Who posts waits beyond limits::kLead and a round trip
// (Connection::AwaitRoom), so that other threads' work is never behind more than that, however slow the driver is.
//
// Marks (wire::Control::kMark) go among the records whenever about limits::kMarkEvery of work has been posted. The server says
// how many of them it has come to, and with that what commands cost (wire::Progress).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>

#include "client/base/limits.h"
#include "generated/vk/commands.h"
#include "runtime/wire/control.h"

namespace vesper::client {

// Threading: Post() and AddMark() under the batch's mutex, Reached() and Learn() by whoever reads; the rest by any thread.
class Lead {
 public:
  Lead();

  // Before anything is posted: the server answers marks. Without that the client is never ahead.
  void Start() { answered_.store(true, std::memory_order_relaxed); }

  // A record of `bytes` was posted, or recordings (wire::kRecordings). Whether a mark should follow.
  bool Post(uint16_t command, size_t bytes) noexcept;
  // A mark follows everything that was posted up to now.
  void AddMark() noexcept;

  // The server has come to that many marks.
  void Reached(uint64_t marks) noexcept;
  // Whole entries of wire::CommandCost.
  void Learn(std::span<const uint8_t> costs) noexcept;
  // A round trip took this long.
  void NoteTrip(int64_t ns) noexcept;

  uint64_t ahead_ns() const noexcept;
  bool HasRoom() const noexcept { return Within(limits::kLeadNs); }
  bool HasAmpleRoom() const noexcept { return Within(limits::kLeadNs / 2); }

 private:
  static constexpr size_t kMarks = 1024;  // beyond, a mark is not set until the server has come to the first of them
  static constexpr size_t kRecordings = kCommandCount;
  static constexpr size_t kMemoryWrites = kCommandCount + 1;
  struct Unit {
    size_t index;
    uint64_t count;
  };
  static Unit UnitOf(uint16_t command, size_t bytes) noexcept;
  bool Within(uint64_t bound) const noexcept;

  std::array<std::atomic<uint32_t>, kCommandCount + 2> cost_ns_;
  std::atomic<bool> answered_{false};
  std::atomic<uint64_t> posted_ns_{0};   // all that was ever posted
  std::atomic<uint64_t> reached_ns_{0};  // of it, what lies before the last mark that the server has come to
  std::atomic<uint64_t> marks_{0};
  std::atomic<uint64_t> reached_{0};
  std::array<std::atomic<uint64_t>, kMarks> before_ns_{};  // what was posted before a mark, by its number
  uint64_t marked_ns_ = 0;                                 // what was posted before the last mark
  std::atomic<int64_t> trip_ns_{INT64_MAX};
};

}  // namespace vesper::client
