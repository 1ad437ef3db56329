// One client's end of a session's channel: records go into a batch, replies and pushed events come back, and callers sleep
// until what they wait for has come. Knows records and sequence numbers, no Vulkan; session.h gives them their meaning.
//
// Sending. Records are encoded straight into one batch under one mutex. The batch leaves at kBatchBytes, with every Ask(),
// with Flush() (submits, host signals, event sets), and through the background thread once it has lain for `linger`.
//
// Receiving. Exactly one thread reads the channel at a time, and it handles every message it gets, whoever it is for:
//   1. A caller that has to wait reads itself (the leader) unless another thread reads already; then it sleeps on its own
//      condition variable (a follower).
//   2. A leaving leader wakes one follower, which leads from then on.
//   3. The background thread reads only while no caller waits and no leader has left for `linger`. In a row of round trips
//      it therefore never reads, and none of them costs a hop between threads. A caller that finds it reading interrupts it;
//      it then wakes that caller and stands back.
//   4. TryPoll() reads what lies there without waiting, unless someone reads already.
// The lane (one mutex) guards who reads, who waits, and all state that completions change; it is never held while reading,
// sending, or applying an event. Lock order: memory → batch → lane.
//
// Loss. The end of the channel, malformed messages, and silence beyond `grace` although an answer is due end the session:
// everyone is woken and every later call returns at once. An idle reader sends heartbeats so that silence means something.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "client/function_ref.h"
#include "client/statistics.h"
#include "runtime/channel.h"
#include "runtime/wire/control.h"
#include "runtime/wire/encoder.h"
#include "runtime/wire/record.h"

namespace vesper::client {

using Clock = std::chrono::steady_clock;

struct Timing {
  std::chrono::milliseconds linger{5};              // how long a record may lie in the batch
  std::chrono::milliseconds busy_for{100};          // how long the background thread keeps ticking after a post
  std::chrono::milliseconds pulse{10};              // between calls of OnPulse(), which get a tenth of the time at most
  std::chrono::milliseconds heartbeat_after{2000};  // of silence
  std::chrono::milliseconds grace{10000};
};

// What a connection hands up. Called by whichever thread reads, one at a time, in the order of arrival, without the lane.
class EventHandler {
 public:
  virtual ~EventHandler() = default;
  virtual void OnEvent(wire::EventKind kind, std::span<const uint8_t> body) = 0;
  virtual void OnLost(const std::string& why) = 0;
  // By the background thread, without the lane, some time after StartPulse(): what it posts is sent. True to be called again.
  virtual bool OnPulse() { return false; }
};

// The answer to one record.
struct Reply {
  uint64_t sequence = 0;
  wire::ReplyHeader header;
  std::vector<uint8_t> payload;       // with the header in front
  bool announced_descriptor = false;  // one was sent, whether or not this process could take it
  Descriptor descriptor;
  std::span<const uint8_t> body() const { return std::span(payload).subspan(sizeof(wire::ReplyHeader)); }
};

// An answer that nobody waits for; whoever asked looks for it later. Guarded by the lane.
struct LaterReply {
  uint64_t sequence = 0;
  bool answered = false;
  Reply reply;
};

enum class WaitOutcome : uint8_t { kDone, kTimeout, kLost };

class Connection {
 public:
  static constexpr size_t kBatchBytes = 32 * 1024;
  // Writes one record's body; may throw std::bad_alloc, after which the record is taken back.
  using Encode = FunctionRef<void(wire::ByteBuffer*)>;

  // Starts the background thread. `handler` and `statistics` outlive the connection.
  Connection(std::unique_ptr<Channel> channel, EventHandler* handler, Statistics* statistics,
             const Timing& timing = {});
  // Ends the session with Goodbye, unless it is lost or Abandon()ed; joins the thread. Nobody may be waiting.
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  enum class Posted : uint8_t { kOk, kLost, kExhausted };
  // Appends a record that nobody waits for. `bytes`, if given, gets its size.
  Posted Post(uint16_t command, Encode encode, size_t* bytes = nullptr) noexcept;
  // Appends records that were encoded elsewhere (a command buffer's, runs of memory).
  Posted PostRecords(std::span<const uint8_t> records) noexcept;
  // Sends everything up to now. False when the session is lost.
  bool Flush() noexcept;

  // Appends a record, sends, and waits for the reply to it. kLost also when memory is exhausted while the session is not.
  Posted Ask(uint16_t command, Encode encode, Reply* reply, size_t* bytes = nullptr) noexcept;

  // The same without waiting: what comes back is put into the reply by whoever reads it. nullptr when the session is lost or
  // memory is exhausted. The lane must not be held.
  std::shared_ptr<LaterReply> AskLater(uint16_t command, Encode encode) noexcept;

  // Guards who reads and waits, and whatever else completions change. Take it only when !lost() in a process that forked.
  std::mutex& lane() { return lane_; }
  // With `lane` locked: sleeps until done() is true, which is evaluated with the lane locked after each message that came.
  // Everything posted before is sent first. `counts` says whether it is a wait of an entry point.
  WaitOutcome WaitFor(std::unique_lock<std::mutex>& lane, FunctionRef<bool()> done,
                      Clock::time_point deadline) noexcept;
  // With `lane` locked: handles what has arrived, without waiting and at most every 20 µs.
  void TryPoll(std::unique_lock<std::mutex>& lane) noexcept;
  // OnPulse() is called from now on, until it says no. Any thread; the lane must not be held.
  void StartPulse() noexcept;
  // Wakes all who wait for completions, to evaluate their conditions again. The lane must not be held.
  void NotifyWaiters() noexcept;

  bool lost() const { return lost_.load(std::memory_order_acquire); }
  // Ends the session here and now. Any thread, no lock held.
  void MarkLost(const std::string& why) noexcept;
  // In the child of a fork: lost, without locks and without a word to the server.
  void Abandon() noexcept;
  bool abandoned() const { return abandoned_.load(std::memory_order_relaxed); }

  const Channel& channel() const { return *channel_; }

 private:
  struct Waiter {
    std::condition_variable wake;
    uint64_t sequence = 0;  // 0: waits for completions
    Message reply;
    bool answered = false;
  };

  template <typename Write>
  Posted Append(Write write) noexcept;
  void Appended(bool was_empty) noexcept;
  bool SendBatch(std::unique_lock<std::mutex>& batch) noexcept;
  WaitOutcome Sleep(std::unique_lock<std::mutex>& lane, FunctionRef<bool()> done, Clock::time_point deadline,
                    Waiter* self) noexcept;
  void ReadOnce(std::unique_lock<std::mutex>& lane, std::chrono::milliseconds timeout) noexcept;
  void Handle(Message* message);
  void HandleLater(Message* message);
  void HandleEvents(std::span<const uint8_t> records);
  void CheckSilence(std::chrono::milliseconds waited) noexcept;
  void HandOver() noexcept;
  void WakeBackground() noexcept;
  void Background() noexcept;
  bool BackgroundTurn(std::unique_lock<std::mutex>& lane) noexcept;

  const std::unique_ptr<Channel> channel_;
  EventHandler* const handler_;
  Statistics* const statistics_;
  const Timing timing_;

  std::mutex batch_mutex_;
  wire::ByteBuffer batch_;
  uint64_t last_sequence_ = 0;
  uint64_t batch_sequence_ = 0;          // of the batch's first record that wants a reply
  std::atomic<int64_t> batch_since_{0};  // when its first record was put in; 0: empty
  std::mutex send_mutex_;                // taken with the batch mutex held, which is then released
  wire::ByteBuffer sending_;
  std::atomic<int64_t> sending_since_{0};

  std::mutex lane_;
  bool reading_ = false;
  bool background_reading_ = false;
  std::vector<Waiter*> waiters_;
  std::vector<std::weak_ptr<LaterReply>> later_;
  Clock::time_point last_leader_{};
  Clock::time_point last_poll_{};
  std::condition_variable background_wake_;
  std::atomic<bool> deep_{false};  // the background thread sleeps for long: a post wakes it
  bool stopping_ = false;
  std::atomic<bool> pulsing_{false};
  Clock::time_point pulse_at_{};  // the background thread's alone

  std::atomic<bool> lost_{false};
  std::atomic<bool> abandoned_{false};
  std::atomic<int64_t> last_received_{0};
  std::chrono::milliseconds listened_in_vain_{0};  // the reader's alone
  std::atomic<int64_t> last_activity_{0};
  std::atomic<uint64_t> heartbeat_{0};  // sequence of the one that is not answered yet
  std::thread background_;
};

}  // namespace vesper::client
