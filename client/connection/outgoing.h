// The sending half of a connection. Records are encoded straight into one batch, and batches leave in order. Nobody who
// appends waits for the peer: the thread that flushes sends by itself only what the channel takes at once, everything else is
// the writer's, a thread of its own. So whoever reads, waits or polls is never held up by what others send; who sends much
// asks for room before (Connection::AwaitRoom).
//
// Any thread may call anything. The one mutex is held for encoding and for moving batches about, never while sending.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "client/base/function_ref.h"
#include "client/base/limits.h"
#include "client/base/statistics.h"
#include "client/connection/lead.h"
#include "runtime/channel.h"
#include "runtime/wire/encoder.h"

namespace vesper::client {

class Outgoing {
 public:
  // Writes one record's body; may throw std::bad_alloc, after which the record is taken back.
  using Encode = FunctionRef<void(wire::ByteBuffer*)>;
  // Told the sequence number of a record that wants a reply before that can come; may throw std::bad_alloc as well.
  using Expect = FunctionRef<void(uint64_t sequence)>;

  // Called without the mutex.
  class Owner {
   public:
    virtual ~Owner() = default;
    virtual void OnRoom() noexcept = 0;  // there is ample room again
    virtual void OnSendFailed() noexcept = 0;
  };

  // Starts the writer; std::system_error when there is no thread to be had. Everything given outlives this.
  Outgoing(Channel* channel, Statistics* statistics, Owner* owner);
  // Ends the writer. The channel is closed by then, or nothing is being sent.
  ~Outgoing();
  Outgoing(const Outgoing&) = delete;
  Outgoing& operator=(const Outgoing&) = delete;

  // These append a record that nobody waits for, one that wants a reply, and records that were encoded elsewhere. False when
  // memory is exhausted. `bytes`, if given, gets the record's size; `started` whether the batch was empty before.
  bool Append(uint16_t command, Encode encode, size_t* bytes, bool* started) noexcept;
  bool AppendAsking(uint16_t command, Encode encode, Expect expect, size_t* bytes, bool* started) noexcept;
  bool AppendRecords(std::span<const uint8_t> records, bool* started) noexcept;
  // The same for as many records as make a batch by themselves, which are taken away without a copy: `records` gets an empty
  // buffer for the next ones.
  bool AppendBatch(wire::ByteBuffer* records, bool* started) noexcept;

  // What has been appended leaves now.
  void Flush() noexcept;
  // The same without a system call that sends: the writer does it all. For the thread that reads.
  void FlushByWriter() noexcept;
  // Sends everything and then Goodbye. When this returns they have left, or Fail() was called.
  void Goodbye() noexcept;
  // The channel is gone: from now on nothing is sent.
  void Fail() noexcept;
  // In the child of a fork, which has no writer.
  void AbandonAfterFork() noexcept;

  bool HasRoom() const { return unsent_.load(std::memory_order_relaxed) <= limits::kMaxUnsentBytes && lead_.HasRoom(); }
  bool HasAmpleRoom() const {
    return unsent_.load(std::memory_order_relaxed) <= limits::kMaxUnsentBytes / 2 && lead_.HasAmpleRoom();
  }
  // The same for what is sent in bulk, of which so little lies before the line that what other threads send need not wait long.
  bool HasBulkRoom() const { return unsent_.load() <= BulkBound() && lead_.HasRoom(); }
  bool HasAmpleBulkRoom() const { return unsent_.load() <= BulkBound() / 2 && lead_.HasAmpleRoom(); }
  // Around waiting for HasAmpleBulkRoom(): OnRoom() is called when that may have come true.
  void BeginBulkWait() { bulk_waits_.fetch_add(1); }
  void EndBulkWait() { bulk_waits_.fetch_sub(1); }
  Lead& lead() { return lead_; }
  // When the first record was put into the batch, by the steady clock; 0 while it is empty.
  int64_t batch_since() const { return batch_since_.load(); }
  // All records that want a reply have left up to the one with this number.
  uint64_t sent_sequence() const { return sent_sequence_.load(); }

 private:
  struct Batch {
    MessageKind kind = MessageKind::kBatch;
    uint64_t first_sequence = 0;  // of the first record that wants a reply
    uint64_t last_sequence = 0;   // of all records up to the batch's end
    wire::ByteBuffer bytes;
  };
  size_t BulkBound() const noexcept;
  template <typename Fill>
  bool AppendWith(uint16_t command, Fill fill, bool* started) noexcept;
  void CountAhead(uint16_t command, size_t bytes) noexcept;
  void Seal() noexcept;
  void TakeBatch(Batch* batch) noexcept;
  bool pending() const { return !failed_ && (!sealed_.empty() || (flush_ && !batch_.empty())); }
  void SendNext(std::unique_lock<std::mutex>& lock) noexcept;
  ChannelStatus Send(const Batch& batch) noexcept;
  void Write() noexcept;

  Channel* const channel_;
  Statistics* const statistics_;
  Owner* const owner_;
  Lead lead_;

  std::mutex mutex_;
  wire::ByteBuffer batch_;
  uint64_t batch_first_ = 0;    // sequence of the batch's first record that wants a reply
  uint64_t last_sequence_ = 0;  // that was given to a record
  std::deque<Batch> sealed_;    // full ones
  std::vector<wire::ByteBuffer> spare_;
  bool flush_ = false;    // what the batch holds is to leave
  bool sending_ = false;  // someone is inside channel_->Send()
  bool failed_ = false;
  bool stopping_ = false;
  std::condition_variable changed_;  // the writer has something to do
  std::condition_variable sent_;     // nothing is pending any more, or ever will be sent
  std::atomic<int64_t> batch_since_{0};
  std::atomic<size_t> unsent_{0};  // bytes of the batch, the sealed ones and the one that is being sent
  std::atomic<int> bulk_waits_{0};
  std::atomic<uint64_t> sent_sequence_{0};
  std::thread writer_;
};

}  // namespace vesper::client
