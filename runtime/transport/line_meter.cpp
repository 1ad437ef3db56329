#include "runtime/transport/line_meter.h"

#include <algorithm>

namespace vesper::transport {
namespace {

// Bytes and time that one measurement takes at least: what a socket takes at once is a burst.
constexpr uint64_t kLeastBytes = uint64_t{32} << 10;
constexpr auto kLeastTime = std::chrono::milliseconds(4);
// A line that takes as much as it would in this time, and at least so many bytes, without ever being full is faster than it was.
constexpr double kEagerSeconds = 0.1;
constexpr uint64_t kEagerBytes = uint64_t{512} << 10;

}  // namespace

void LineMeter::Sent(size_t bytes) {
  bytes_ += bytes;
  eagerly_ += bytes;
  const uint64_t known = rate();
  if (known == 0 || eagerly_ < kEagerBytes ||
      static_cast<double>(eagerly_) < static_cast<double>(known) * kEagerSeconds) {
    return;
  }
  eagerly_ = 0;
  if (known < UINT64_MAX / 2) rate_.store(2 * known, std::memory_order_relaxed);
  for (uint64_t& each : measured_) each = std::max(each, known);
}

void LineMeter::Full(Clock::time_point now) {
  eagerly_ = 0;
  if (!full_) {
    full_ = true;
    since_ = now;
    bytes_ = 0;
    return;
  }
  const auto time = now - since_;
  if (time < kLeastTime || bytes_ < kLeastBytes) return;
  const double rate = static_cast<double>(bytes_) / std::chrono::duration<double>(time).count();
  measured_[measurements_++ % kKept] = static_cast<uint64_t>(rate);
  since_ = now;
  bytes_ = 0;
  if (measurements_ < kLeastKept) return;
  std::array<uint64_t, kKept> kept = measured_;
  const auto end = kept.begin() + static_cast<ptrdiff_t>(std::min(measurements_, kKept));
  const auto middle = kept.begin() + (end - kept.begin()) / 2;
  std::nth_element(kept.begin(), middle, end);
  rate_.store(*middle, std::memory_order_relaxed);
}

void LineMeter::RanDry() { full_ = false; }

}  // namespace vesper::transport
