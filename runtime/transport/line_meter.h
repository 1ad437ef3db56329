// How much a line carries, as its sender sees it: measured between moments at which the socket takes nothing more. What is queued
// ahead of a line, in the kernel and before it, is bounded by this in time, and whether compression pays is judged by it.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace vesper::transport {

// Threading: whoever sends calls everything but rate(), which any thread may.
class LineMeter {
 public:
  using Clock = std::chrono::steady_clock;

  // The socket took so many bytes.
  void Sent(size_t bytes);
  // It takes no more now: what it takes from here on is what the line carries.
  void Full(Clock::time_point now);
  // It had nothing left to send, so that the time since Full() tells nothing.
  void RanDry();
  // Whether RanDry() would make a difference.
  bool measures() const { return full_; }

  // Bytes a second; 0 while the line has never been for long what a sender waited for.
  uint64_t rate() const { return rate_.load(std::memory_order_relaxed); }

 private:
  bool full_ = false;
  Clock::time_point since_{};
  uint64_t bytes_ = 0;    // since then
  uint64_t eagerly_ = 0;  // taken since it was full last
  // The last measurements, of which the middle one counts: a peer that does not read for a while is no slow line.
  static constexpr size_t kKept = 5;
  static constexpr size_t kLeastKept = 3;
  std::array<uint64_t, kKept> measured_{};
  size_t measurements_ = 0;
  std::atomic<uint64_t> rate_{0};
};

}  // namespace vesper::transport
