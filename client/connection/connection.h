// One client's end of a session's channel: records go into a batch, replies and pushed events come back, and callers sleep
// until what they wait for has come. Knows records and sequence numbers, no Vulkan; session.h gives them their meaning.
//
// Sending (outgoing.h). Records go into a batch, which leaves when it is full, with every Ask(), with Flush() (submits, host
// signals, event sets), and through the background thread once it has lain for `linger`. None of these waits for the peer;
// who is about to post asks for room first (AwaitRoom), with no lock held.
//
// Receiving. Exactly one thread reads the channel at a time, and it handles every message it gets, whoever it is for:
//   1. A caller that has to wait reads itself (the leader) unless another thread reads already; then it sleeps on its own
//      condition variable (a follower).
//   2. A leaving leader wakes one that sleeps, which leads from then on.
//   3. The background thread reads only while no caller sleeps and no leader has left for `linger`. In a row of round trips
//      it therefore never reads, and none of them costs a hop between threads. A caller that finds it reading interrupts it;
//      it then wakes that caller and stands back.
//   4. TryPoll() reads what lies there without waiting, unless someone reads already.
// The reader takes no lock under which anybody sends or waits. The lane (one mutex) guards who reads, who waits, and all state
// that completions change; it is never held while reading, sending, or applying an event. Lock order: memory → batch → lane.
//
// Loss. The end of the channel, malformed messages, and silence beyond `grace` although an answer is due end the session:
// everyone is woken and every later call returns at once. An idle reader sends heartbeats so that silence means something.
// Silence is that no byte comes, and none leaves of what was sent ahead of the heartbeat: a line may be slow.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "client/base/function_ref.h"
#include "client/base/limits.h"
#include "client/base/statistics.h"
#include "client/connection/outgoing.h"
#include "runtime/channel.h"
#include "runtime/wire/control.h"
#include "runtime/wire/record.h"

namespace vesper::client {

using Clock = std::chrono::steady_clock;

struct Timing {
  std::chrono::milliseconds linger = limits::kLinger;
  std::chrono::milliseconds busy_for = limits::kBusyFor;
  std::chrono::milliseconds pulse = limits::kPulse;
  std::chrono::milliseconds heartbeat_after = limits::kHeartbeatAfter;
  std::chrono::milliseconds grace = limits::kGrace;
};

// What a connection hands up. Called by whichever thread reads, one at a time, in the order of arrival, without the lane.
class EventHandler {
 public:
  virtual ~EventHandler() = default;
  virtual void OnEvent(wire::EventKind kind, std::span<const uint8_t> body) = 0;
  virtual void OnLost(std::string_view why) = 0;
  // By the background thread, without the lane, some time after StartPulse(): what it posts is sent. True to be called again.
  virtual bool OnPulse() { return false; }
};

// The answer to one record.
struct Reply {
  uint64_t sequence = 0;
  wire::ReplyHeader header;
  std::vector<uint8_t> payload;       // with the header in front
  uint64_t waited_ns = 0;             // by who asked
  bool announced_descriptor = false;  // one was sent, whether or not this process could take it
  MemoryName memory;
  std::span<const uint8_t> body() const { return std::span(payload).subspan(sizeof(wire::ReplyHeader)); }
};

// Questions that leave together: all of them cost one round trip, which whoever first wants one of their answers counts. Guarded
// by the lane.
struct LaterReply;
struct Trip {
  std::weak_ptr<LaterReply> last;  // answered after the others
  bool counted = false;
};

// An answer that nobody waits for; whoever asked looks for it later. Guarded by the lane.
struct LaterReply {
  uint64_t sequence = 0;
  bool answered = false;
  Reply reply;
  std::shared_ptr<Trip> trip;  // nullptr: it was asked alone
};

// When a question leaves that nobody waits for: at once, or with what is sent next.
enum class When : uint8_t { kNow, kWithTheNext };

enum class WaitOutcome : uint8_t { kDone, kTimeout, kLost };

class Connection final : private Outgoing::Owner {
 public:
  using Encode = Outgoing::Encode;

  // Starts its threads; std::system_error when there are none to be had. `handler` and `statistics` outlive the connection.
  Connection(std::unique_ptr<Channel> channel, EventHandler* handler, Statistics* statistics,
             const Timing& timing = {});
  // Ends the session with Goodbye, unless it is lost or Abandon()ed; joins the thread. Nobody may be waiting.
  ~Connection() override;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  enum class Posted : uint8_t { kOk, kLost, kExhausted };
  // Appends a record that nobody waits for. `bytes`, if given, gets its size.
  Posted Post(uint16_t command, Encode encode, size_t* bytes = nullptr) noexcept;
  // Appends records that were encoded elsewhere (a command buffer's, runs of memory).
  Posted PostRecords(std::span<const uint8_t> records) noexcept;
  // The same for many, which are taken away without a copy; `records` gets an empty buffer.
  Posted PostBatch(wire::ByteBuffer* records) noexcept;
  // Everything up to now leaves. False when the session is lost.
  bool Flush() noexcept;
  // Waits while more was posted than the line takes: before posting, with no lock held. False when the session is lost.
  bool AwaitRoom() noexcept { return outgoing_.HasRoom() ? !lost() : WaitForRoom(false); }
  // The same before what is sent in bulk, so that other threads' messages are not far behind it.
  bool AwaitBulkRoom() noexcept { return outgoing_.HasBulkRoom() ? !lost() : WaitForRoom(true); }

  // Appends a record, sends, and waits for the reply to it. kLost also when memory is exhausted while the session is not.
  Posted Ask(uint16_t command, Encode encode, Reply* reply, size_t* bytes = nullptr) noexcept;

  // The same without waiting: what comes back is put into the reply by whoever reads it. nullptr when the session is lost or
  // memory is exhausted. The lane must not be held.
  std::shared_ptr<LaterReply> AskLater(uint16_t command, Encode encode, When when = When::kNow) noexcept;

  // From then on the answer is of that trip, and the last of it so far.
  void Join(const std::shared_ptr<LaterReply>& later, const std::shared_ptr<Trip>& trip) noexcept;
  // Waits until that answer is there, and those that were asked with it. Sets `counted` when a round trip was counted for it. False
  // when the session is lost before.
  bool Await(const LaterReply& later, bool* counted) noexcept;

  // Guards who reads and waits, and whatever else completions change. Take it only when !lost() in a process that forked.
  std::mutex& lane() { return lane_; }
  // With `lane` locked: sleeps until done() is true, which is evaluated with the lane locked after each message that came.
  // Everything posted before is sent first. `counts` says whether it is a wait of an entry point.
  WaitOutcome WaitFor(std::unique_lock<std::mutex>& lane, FunctionRef<bool()> done,
                      Clock::time_point deadline) noexcept;
  // With `lane` locked: handles what has arrived, without waiting, and at most every 20 µs where that is a system call.
  void TryPoll(std::unique_lock<std::mutex>& lane) noexcept;
  // OnPulse() is called from now on, until it says no. Any thread; the lane must not be held.
  void StartPulse() noexcept;
  // Wakes all who wait for completions, to evaluate their conditions again. The lane must not be held.
  void NotifyWaiters() noexcept;
  // The server answers marks (lead.h). Before anything is posted.
  void BoundLead() { outgoing_.lead().Start(); }
  // Whether a thread waits for the reply to that record. The lane must not be held.
  bool IsAwaited(uint64_t sequence) noexcept;

  bool lost() const { return lost_.load(std::memory_order_acquire); }
  // Ends the session here and now. Any thread, no lock held.
  void MarkLost(std::string_view why) noexcept;
  // In the child of a fork: lost, without locks and without a word to the server.
  void Abandon() noexcept;
  bool abandoned() const { return abandoned_.load(std::memory_order_relaxed); }

  const Channel& channel() const { return *channel_; }

 private:
  struct Waiter {
    std::condition_variable wake;
    uint64_t sequence = 0;  // 0: waits for completions
    bool asleep = false;    // on `wake`: whoever leaves may make it the reader
    bool answered = false;
    Message reply;
  };

  void OnRoom() noexcept override { NotifyWaiters(); }
  void OnSendFailed() noexcept override { MarkLostByChannel(); }
  void MarkLostByChannel() noexcept;
  Posted Appended(bool done, bool started) noexcept;
  bool WaitForRoom(bool bulk) noexcept;
  WaitOutcome Enter(std::unique_lock<std::mutex>& lane, FunctionRef<bool()> done, Clock::time_point deadline) noexcept;
  WaitOutcome Sleep(std::unique_lock<std::mutex>& lane, FunctionRef<bool()> done, Clock::time_point deadline,
                    Waiter* self) noexcept;
  void ReadOnce(std::unique_lock<std::mutex>& lane, std::chrono::milliseconds timeout) noexcept;
  void Handle(Message* message);
  void HandleLater(Message* message);
  void HandleEvents(std::span<const uint8_t> records);
  void WakeWaiters() noexcept;
  void HandleNumbers(std::span<const uint8_t> pairs);
  void CheckSilence(std::chrono::milliseconds waited) noexcept;
  bool ShowsLife() noexcept;
  void SendHeartbeat() noexcept;
  void NoteLife(Clock::time_point now) noexcept;
  void HandOver() noexcept;
  void WakeBackground() noexcept;
  void Background() noexcept;
  bool BackgroundTurn(std::unique_lock<std::mutex>& lane) noexcept;

  const std::unique_ptr<Channel> channel_;
  EventHandler* const handler_;
  Statistics* const statistics_;
  const Timing timing_;

  std::mutex lane_;
  bool reading_ = false;
  bool background_reading_ = false;
  std::vector<Waiter*> waiters_;
  std::unordered_map<uint64_t, std::weak_ptr<LaterReply>> later_;  // by sequence, until the answer has come
  Clock::time_point last_leader_{};
  Clock::time_point last_poll_{};
  std::condition_variable background_wake_;
  std::atomic<bool> deep_{false};  // the background thread sleeps for long: a post wakes it
  bool ending_ = false;            // the end of the channel is no loss any more
  bool stopping_ = false;
  std::atomic<bool> pulsing_{false};
  Clock::time_point pulse_at_{};  // the background thread's alone

  std::atomic<bool> lost_{false};
  std::atomic<bool> abandoned_{false};
  std::atomic<int64_t> last_activity_{0};

  // The reader's alone, whoever that is.
  Message message_;                                // the last that came: its buffer is used again
  Clock::time_point last_life_{};                  // when a byte was seen to come, or to leave while that counts
  std::chrono::milliseconds listened_in_vain_{0};  // since then
  bool renewed_ = false;                           // since then another connection was asked for
  bool renewing_ = false;                          // and is not there yet, as of the last look
  uint64_t received_ = 0;                          // bytes, at the last look
  uint64_t delivered_ = 0;                         // the most ever seen
  uint64_t heartbeat_ = 0;                         // sequence of the one that is not answered yet
  uint64_t heartbeat_end_ = 0;                     // where the bytes sent up to it end; 0: it has not left

  Outgoing outgoing_;  // its thread uses what is above
  std::thread background_;
};

}  // namespace vesper::client
