// How long a wait may still take, for poll().
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>

namespace vesper::transport {

class Deadline {
 public:
  // Negative: never. `cancelled`, if given, outlives this: once it is true the time has passed.
  explicit Deadline(std::chrono::milliseconds timeout, const std::atomic<bool>* cancelled = nullptr)
      : cancelled_(cancelled),
        never_(timeout.count() < 0 || timeout > std::chrono::hours(24 * 365)),
        at_(std::chrono::steady_clock::now() + (never_ ? std::chrono::milliseconds(0) : timeout)) {}

  bool never() const { return never_; }
  std::chrono::steady_clock::time_point at() const { return at_; }
  bool passed() const { return cancelled() || (!never_ && std::chrono::steady_clock::now() >= at_); }

  // What poll() takes: -1 for never, rounded up, so that poll() does not return early again and
  // again.
  int PollMilliseconds() const {
    if (cancelled()) return 0;
    const int rest = RestMilliseconds();
    return cancelled_ == nullptr ? rest : never_ ? kLook : std::min(kLook, rest);
  }
  // What is left, whether or not poll() is to look up in between; -1 for ever.
  int RestMilliseconds() const {
    if (never_) return -1;
    const auto rest = std::chrono::ceil<std::chrono::milliseconds>(at_ - std::chrono::steady_clock::now());
    if (rest.count() <= 0) return 0;
    return rest.count() > INT_MAX ? INT_MAX : static_cast<int>(rest.count());
  }

  const std::atomic<bool>* cancellation() const { return cancelled_; }

 private:
  static constexpr int kLook = 50;  // milliseconds, at whether it is cancelled
  bool cancelled() const { return cancelled_ != nullptr && cancelled_->load(); }

  const std::atomic<bool>* cancelled_;
  bool never_;
  std::chrono::steady_clock::time_point at_;
};

}  // namespace vesper::transport
