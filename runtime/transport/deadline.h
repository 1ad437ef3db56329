// How long a wait may still take, for poll().
#pragma once

#include <chrono>
#include <climits>

namespace vesper::transport {

class Deadline {
 public:
  // Negative: never.
  explicit Deadline(std::chrono::milliseconds timeout)
      : never_(timeout.count() < 0 || timeout > std::chrono::hours(24 * 365)),
        at_(std::chrono::steady_clock::now() + (never_ ? std::chrono::milliseconds(0) : timeout)) {}

  bool never() const { return never_; }
  std::chrono::steady_clock::time_point at() const { return at_; }
  bool passed() const { return !never_ && std::chrono::steady_clock::now() >= at_; }

  // What poll() takes: -1 for never, rounded up, so that poll() does not return early again and
  // again.
  int PollMilliseconds() const {
    if (never_) return -1;
    const auto rest = std::chrono::ceil<std::chrono::milliseconds>(at_ - std::chrono::steady_clock::now());
    if (rest.count() <= 0) return 0;
    return rest.count() > INT_MAX ? INT_MAX : static_cast<int>(rest.count());
  }

 private:
  bool never_;
  std::chrono::steady_clock::time_point at_;
};

}  // namespace vesper::transport
