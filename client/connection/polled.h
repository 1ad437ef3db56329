// Lets a program poll a state that the device may change at any moment (an event, a query) without a round trip for each poll.
// A poll returns what was heard last, and now and then sends a question that nobody waits for. Only when a submit has completed
// since the last answer does a poll ask and wait: the program may know by other means that the state has changed.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>

#include "client/base/limits.h"
#include "client/connection/connection.h"

namespace vesper::client {

// Guarded by the lane of the session's connection. `completions` are Session::completions().
class Polled {
 public:
  // The answer to the question that nobody waits for, if it has come, else nullptr.
  std::shared_ptr<LaterReply> Heard() {
    return pending_ != nullptr && pending_->answered ? std::exchange(pending_, nullptr) : nullptr;
  }
  // Whether a poll may return what was heard last.
  bool IsCurrent(uint64_t completions) const { return as_of_ == completions; }
  // Whether it is time for the next question (Session::AskLater()), which Expect() then gets.
  bool WantsNews() {
    const auto now = Clock::now();
    if (pending_ != nullptr || now - asked_at_ < limits::kPolledInterval) return false;
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
  uint64_t as_of_ = UINT64_MAX;
  Clock::time_point asked_at_{};
  std::shared_ptr<LaterReply> pending_;
};

}  // namespace vesper::client
