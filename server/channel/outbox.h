// What a session sends: in order, without ever making the session's reader wait for a client that
// does not read.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "runtime/channel.h"
#include "runtime/wire/encoder.h"
#include "server/base/limits.h"

namespace vesper::server {

// A bounded queue in front of a Channel with a thread that empties it. A message is sent by the
// caller's thread when nothing is queued and the channel takes it at once. Thread-safe.
class Outbox {
 public:
  explicit Outbox(Channel* channel, size_t limit = SessionLimits{}.unread_bytes);
  ~Outbox();  // closes the channel if the writer still waits for the peer
  Outbox(const Outbox&) = delete;
  Outbox& operator=(const Outbox&) = delete;

  // Queues or sends one message, whose bytes are copied when queued; the name of memory goes with it.
  // False once the session must end: the channel is lost or the client has left more than the limit
  // unread; the channel is then closed, which wakes the reader.
  bool Send(MessageKind kind, uint64_t sequence, std::span<const uint8_t> first, std::span<const uint8_t> second = {},
            MemoryName memory = {});

  // Send() of an event that is taken away without a copy: `event` gets an empty buffer, one that was used before if there is
  // one.
  bool SendBuffer(wire::ByteBuffer* event);

  // Waits while more is queued than the line carries in a few milliseconds, limits::kMaxAhead at most, for who has much to send:
  // what is found later need not be kept until then, and what others send is not far behind. Not for long while the client takes nothing, not by the session's reader, and not while that waits for who does.
  void AwaitRoom();
  // The calling thread is the session's reader. Before others use this.
  void NoteReader() { reader_ = std::this_thread::get_id(); }
  void BeginHurry();
  void EndHurry();
  // In pieces of how many bytes, `most` at most, much is to be sent.
  size_t Piece(size_t most) const;

  // Send() for an event that may be left out: false, and the event is dropped, while `limit`
  // bytes of such wait already.
  bool SendIfRoom(std::span<const uint8_t> event, size_t limit);

  // Channel::Raise(), if everything sent before is on its way; else false, and a message is to say it.
  bool Raise(uint64_t key, uint64_t value);

  // Around whatever the session's thread does for a message, during which it reads none: while one
  // such takes long, a call of the driver perhaps, the client hears every limits::kAliveInterval that the
  // server lives.
  void BeginWork() noexcept;
  void EndWork() noexcept { work_.fetch_add(1); }

  // Waits until everything is sent, the channel is lost or the time is over.
  void Flush(std::chrono::milliseconds timeout);

  // Why Send() said no, for the log; empty while all is well.
  std::string error() const;
  size_t queued_bytes() const;
  // How often the writer has looked for something to send.
  uint64_t looks() const { return looks_; }

 private:
  struct Entry {
    MessageKind kind;
    uint64_t sequence;
    wire::ByteBuffer payload;
    MemoryName memory;
    bool optional = false;
  };
  ChannelStatus SendNow(MessageKind kind, uint64_t sequence, std::span<const std::span<const uint8_t>> parts,
                        const MemoryName& memory);
  bool SendLocked(std::unique_lock<std::mutex>& lock, MessageKind kind, uint64_t sequence,
                  std::span<const uint8_t> first, std::span<const uint8_t> second, MemoryName memory, bool optional);
  void Queue(Entry entry);
  size_t RoomBound() const;
  void Write();
  void WaitForEntry(std::unique_lock<std::mutex>& lock);
  void FailLocked(std::string error);

  Channel* const channel_;
  const size_t limit_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Entry> entries_;
  std::vector<wire::ByteBuffer> spare_;
  size_t awaiting_room_ = 0;  // threads
  size_t hurries_ = 0;
  size_t flushes_ = 0;  // threads
  size_t bytes_ = 0;
  size_t optional_bytes_ = 0;  // of them, what SendIfRoom() queued
  bool sending_ = false;       // someone is inside channel_->Send()
  bool stopping_ = false;
  std::string error_;
  std::atomic<uint64_t> work_{0};      // odd: the session's thread is at work
  std::atomic<bool> watching_{false};  // the writer looks at it every interval; not while the session is idle
  std::atomic<uint64_t> looks_{0};
  std::thread::id reader_;
  std::thread writer_;
};

class Working {
 public:
  explicit Working(Outbox* outbox) : outbox_(outbox) { outbox_->BeginWork(); }
  ~Working() { outbox_->EndWork(); }
  Working(const Working&) = delete;
  Working& operator=(const Working&) = delete;

 private:
  Outbox* const outbox_;
};

}  // namespace vesper::server
