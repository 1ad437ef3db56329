// How fresh the client's knowledge is of a state that the device may change at any moment of a submit, so that polling it
// is no round trip: a poll tells what was heard last, while a question that nobody waits for is on its way. Only after
// something has completed since the last answer must a poll ask and wait, since a program may then know what the answer is.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>

#include "client/connection.h"

namespace vesper::client {

// Guarded by the lane of the session's connection. `completions` are Session::completions().
class Polled {
 public:
  // An answer to the question that nobody waited for, or nullptr.
  std::shared_ptr<LaterReply> Heard() {
    return pending_ != nullptr && pending_->answered ? std::exchange(pending_, nullptr) : nullptr;
  }
  // Whether what is known may be told.
  bool IsCurrent(uint64_t completions) const { return as_of_ == completions; }
  // Whether it is time for the next question (Session::AskLater()), which Expect() then gets.
  bool WantsNews() {
    const auto now = Clock::now();
    if (pending_ != nullptr || now - asked_at_ < kInterval) return false;
    asked_at_ = now;
    return true;
  }
  void Expect(std::shared_ptr<LaterReply> reply) { pending_ = std::move(reply); }
  // The state is known as it was after so many completions, or since the host changed it; older answers do not count.
  void Known(uint64_t completions) {
    as_of_ = completions;
    pending_ = nullptr;
  }

 private:
  static constexpr std::chrono::microseconds kInterval{200};
  uint64_t as_of_ = UINT64_MAX;
  Clock::time_point asked_at_{};
  std::shared_ptr<LaterReply> pending_;
};

}  // namespace vesper::client
