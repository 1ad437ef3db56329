#include "runtime/resume/resumption.h"

#include <algorithm>
#include <utility>

namespace vesper::resume {

bool Resumption::Knows(const Resume& claim) const {
  uint8_t different = 0;
  for (size_t i = 0; i < claim.secret.size(); ++i) {
    different = static_cast<uint8_t>(different | (claim.secret[i] ^ terms_.secret[i]));
  }
  const volatile uint8_t seen = different;  // keeps the compiler from leaving the loop early
  return seen == 0 && claim.session == terms_.session;
}

bool Resumption::Confirmed(uint64_t place) {
  const MutexLock lock(mutex_);
  if (!log_.Confirm(place)) return false;
  changed_.NotifyAll();
  return true;
}

bool Resumption::Broke(uint64_t connection, bool closed, std::string why, std::chrono::milliseconds most) {
  const MutexLock lock(mutex_);
  if (connection != connection_.load() || state_.load() != State::kUp) return false;
  state_.store(State::kBroken);
  patience_ = std::min(terms_.patience, most);
  if (closed) patience_ = std::min<std::chrono::milliseconds>(patience_, kAfterClosing);
  ends_ = Clock::now() + patience_;
  why_ = std::move(why);
  changed_.NotifyAll();
  return true;
}

Resumption::Clock::time_point Resumption::patience_ends() {
  const MutexLock lock(mutex_);
  return ends_;
}

void Resumption::Tick() {
  const MutexLock lock(mutex_);
  TickLocked();
}

void Resumption::TickLocked() {
  if (state_.load() != State::kBroken || Clock::now() < ends_) return;
  EndLocked(why_ + ", and nobody came to resume the session within " + std::to_string(patience_.count()) + " ms");
}

void Resumption::End(const std::string& why) {
  const MutexLock lock(mutex_);
  EndLocked(why);
}

void Resumption::EndLocked(const std::string& why) {
  if (state_.exchange(State::kOver) == State::kOver) return;
  why_ = why;
  changed_.NotifyAll();
}

std::string Resumption::why() {
  const MutexLock lock(mutex_);
  return why_;
}

bool Resumption::AwaitRoom() {
  const MutexLock lock(mutex_);
  while (log_.size() >= kMostKept && !over()) changed_.Wait(mutex_);
  return !over();
}

bool Resumption::HasRoom(size_t bytes) {
  const MutexLock lock(mutex_);
  return up() && !log_.pending() && log_.size() + bytes < kMostKept;
}

void Resumption::Append(std::span<const iovec> pieces) {
  const MutexLock lock(mutex_);
  log_.Append(pieces);
}

size_t Resumption::Offer(std::span<iovec> vectors) {
  const MutexLock lock(mutex_);
  return log_.Offer(vectors);
}

uint64_t Resumption::Sent(size_t count) {
  const MutexLock lock(mutex_);
  return log_.Sent(count);
}

bool Resumption::pending() {
  const MutexLock lock(mutex_);
  return log_.pending();
}

uint64_t Resumption::TakeConfirmation() {
  if (!owes_confirmation()) return 0;
  const uint64_t place = received();
  told_.store(place);
  return place;
}

bool Resumption::AwaitNotice(uint64_t connection) {
  constexpr std::chrono::milliseconds kNotice{100};
  const auto end = Clock::now() + kNotice;
  const MutexLock lock(mutex_);
  const auto noticed = [&] { return !up() || connection_.load() != connection; };
  while (!noticed() && changed_.WaitUntil(mutex_, end)) {
  }
  return noticed();
}

bool Resumption::AwaitAfter(uint64_t connection) {
  const MutexLock lock(mutex_);
  while (!over() && (connection_.load() == connection || !up())) {
    changed_.WaitUntil(mutex_, ends_);
    TickLocked();
  }
  return !over();
}

bool Resumption::GoOn(uint64_t place) {
  const MutexLock lock(mutex_);
  if (over() || !log_.GoBackTo(place)) return false;
  connection_.fetch_add(1);
  state_.store(State::kUp);
  ends_ = Clock::time_point::max();
  told_.store(received());  // who goes on has been told
  changed_.NotifyAll();
  return true;
}

}  // namespace vesper::resume
