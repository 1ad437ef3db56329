// What lets a channel over a stream socket outlive its connection: both ends count the bytes that have come, keep those that the
// other has not confirmed (sent_log.h), and after a break go on over another connection at exactly the byte that the other end
// lacks. Below messages, so that all kinds of them, packed or not, are covered alike. The channel moves bytes and sockets; this
// knows where both ends stand, and who waits for what.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <shared_mutex>
#include <span>
#include <string>

#include "runtime/handshake.h"
#include "runtime/mutex.h"
#include "runtime/resume/sent_log.h"

namespace vesper::resume {

// Whoever reads or writes the socket holds line() shared, for one system call that does not wait, and tells in the same breath
// what it moved. Whoever puts another connection in the socket's place holds it alone. One thread receives and one sends at a time.
class Resumption {
 public:
  using Clock = std::chrono::steady_clock;
  // So many bytes come before the peer is told that they have.
  static constexpr uint64_t kConfirmEvery = uint64_t{256} << 10;
  // Who has sent so many more than were confirmed waits, as for a peer that does not read. More than TCP has on its way by default.
  // One message may exceed it.
  static constexpr size_t kMostKept = size_t{16} << 20;
  // A connection that was closed, rather than torn, is waited for no longer than this: most often the client has ended without a
  // word, or was killed; one that still runs behind a relay which has ended has seen the same end and comes at once.
  static constexpr std::chrono::milliseconds kAfterClosing{3000};

  // `ahead`: bytes of the peer's stream that have been received before this began.
  Resumption(const ResumeTerms& terms, uint64_t ahead) : terms_(terms), received_(ahead) {}

  const ResumeTerms& terms() const { return terms_; }
  // In constant time.
  bool Knows(const Resume& claim) const;

  std::shared_mutex& line() { return line_; }
  // Which connection this is. Together with what a system call on it returned, under line().
  uint64_t connection() const { return connection_.load(); }
  bool up() const { return state_.load() == State::kUp; }
  bool broken() const { return state_.load() == State::kBroken; }
  bool over() const { return state_.load() == State::kOver; }
  uint64_t resumptions() const { return connection(); }

  // --- who receives
  void Received(size_t count) { received_.fetch_add(count); }
  uint64_t received() const { return received_.load(); }
  // The peer says that it has so much. False for what it cannot have.
  bool Confirmed(uint64_t place);
  // That connection has ended; `closed`: in order, as by a process that ends. False when another one has taken its place already.
  // Else it is waited for, from now on, for as long as the terms say, and `most`.
  bool Broke(uint64_t connection, bool closed, std::string why,
             std::chrono::milliseconds most = std::chrono::milliseconds::max());
  // Until when another connection may come; the greatest while there is one.
  Clock::time_point patience_ends();
  // Ends the wait if it has taken too long.
  void Tick();
  // No other connection is waited for from now on; wakes all who wait here.
  void End(const std::string& why);
  // Why it is over, or what is wrong with the connection. A sentence.
  std::string why();

  // --- who sends
  // Waits until there is room for another message. False when it is over.
  bool AwaitRoom();
  bool HasRoom(size_t bytes);
  void Append(std::span<const iovec> pieces);
  // Under line(), in this order.
  size_t Offer(std::span<iovec> vectors);
  uint64_t Sent(size_t count);
  bool pending();
  // How far to confirm to the peer now; 0: it knows. Whoever asks says so to the peer.
  uint64_t TakeConfirmation();
  bool owes_confirmation() const { return received_.load() - told_.load() >= kConfirmEvery; }
  // That connection takes nothing any more. Waits a little for whoever receives to find its end, having read what came before: false
  // when nobody does, which is so where the same thread receives.
  bool AwaitNotice(uint64_t connection);
  // Waits for a connection after that one. False when it is over.
  bool AwaitAfter(uint64_t connection);

  // --- who brings another connection, holding line() alone
  // Everything before `place` has come to the peer. False, with nothing changed, when that cannot be, or it is over.
  bool GoOn(uint64_t place);

 private:
  enum class State : uint8_t { kUp, kBroken, kOver };
  void TickLocked() VESPER_REQUIRES(mutex_);
  void EndLocked(const std::string& why) VESPER_REQUIRES(mutex_);

  const ResumeTerms terms_;
  std::shared_mutex line_;
  std::atomic<uint64_t> connection_{0};
  std::atomic<State> state_{State::kUp};
  std::atomic<uint64_t> received_;
  std::atomic<uint64_t> told_{0};

  Mutex mutex_;
  Condition changed_;
  SentLog log_ VESPER_GUARDED_BY(mutex_);
  Clock::time_point ends_ VESPER_GUARDED_BY(mutex_) = Clock::time_point::max();
  std::chrono::milliseconds patience_ VESPER_GUARDED_BY(mutex_){0};  // with this break
  std::string why_ VESPER_GUARDED_BY(mutex_);
};

}  // namespace vesper::resume
