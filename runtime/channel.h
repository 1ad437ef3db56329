// The one interface between a session and the way its messages travel: TCP, Unix socket, in-process loopback, and rings in
// shared memory. Client and server see messages; only runtime/transport knows sockets and Cap'n Proto.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/descriptor.h"

namespace vesper {

namespace tls {
struct Secrets;
}

// What a message is. Names as in runtime/transport/vesper.capnp.
enum class MessageKind : uint8_t {
  kHello,     // client → server, first: a Hello
  kWelcome,   // server → client: a Welcome
  kRefused,   // server → client: why not; then the channel closes
  kBatch,     // client → server: command records, back to back
  kReply,     // server → client: the reply to the command with that sequence number
  kEvent,     // server → client: completions, memory, messages; dense bytes
  kGoodbye,   // either way: an orderly end, with a reason for people
  kWaiting,   // server → client, instead of a Welcome that will come later: why not yet
  kReceived,  // either way, of the channel itself: how much of the stream has come (runtime/resume)
  kNumbers    // no message: what the peer has Raise()d since, as pairs of key and value; never sent
};

// Whether messages are made smaller on their way: never; where the line is slower than packing them; or always.
enum class Compression : uint8_t { kOff, kAuto, kOn };

// One received message. The payload is the receiver's: of a Hello or Welcome what runtime/handshake.h reads, of a Refused,
// Goodbye or Waiting text for people.
struct Message {
  MessageKind kind = MessageKind::kGoodbye;
  uint64_t sequence = 0;  // kReply: of the command answered; kBatch: of its first record that wants a reply, or 0;
                          // kEvent: as sent; else 0
  std::vector<uint8_t> payload = {};
  // File descriptors that came with a kBatch, kReply or kEvent, close-on-exec; whoever does not want them drops them.
  // Fewer than announced when this process had none to spare.
  uint32_t announced_descriptors = 0;
  std::vector<Descriptor> descriptors = {};
  MemoryPlace place = {};  // where in the one descriptor's file the memory is that is meant; none: it is all of it
};

// What both ends of a session know that outlives its connection.
using ResumeSecret = std::array<uint8_t, 32>;
struct ResumeTerms {
  uint64_t session = 0;
  ResumeSecret secret{};
  std::chrono::milliseconds patience{0};  // how long a broken connection is waited for
};

// With one message. What a peer sends beyond is closed unseen.
inline constexpr size_t kMaxDescriptors = 4;

enum class ChannelStatus : uint8_t {
  kOk,
  kTimeout,   // nothing came in time, or Interrupt() was called
  kClosed,    // the peer ended or the connection broke
  kMalformed  // bytes that are no message; error() says which
};

// Threading: Send() may be called from any thread. Receive() by one thread at a time, while others send. Interrupt() and
// Close() from any thread. Nothing throws but std::bad_alloc. Does not touch signal dispositions.
class Channel {
 public:
  virtual ~Channel() = default;

  // Sends one whole message made of `parts` in order, waiting while the peer's buffer is full: without holding a lock
  // that Receive() needs. kClosed once the channel is lost; kMalformed, with nothing sent and the channel as it was, for a
  // payload beyond wire::kMaxMessageBytes (or for a Hello or Welcome that is none).
  virtual ChannelStatus Send(MessageKind kind, uint64_t sequence, std::span<const std::span<const uint8_t>> parts) = 0;

  // Room for the payload of a message of up to `bytes` in the place that it will travel from, so that to encode it is to send
  // it. Empty where there is no such room now; does not wait. From then on until Commit() nobody else may Send().
  virtual std::span<uint8_t> Reserve(size_t /*bytes*/) { return {}; }
  // Sends the first `bytes` of what was reserved, or gives it back for none. Data only.
  virtual ChannelStatus Commit(MessageKind /*kind*/, uint64_t /*sequence*/, size_t /*bytes*/) {
    return ChannelStatus::kMalformed;
  }

  // Whether file descriptors can travel to the peer: on Unix sockets.
  virtual bool CarriesDescriptors() const { return false; }
  // Whether memory that the peer maps must be shared with it: nobody could bring it what is written elsewhere.
  virtual bool NeedsSharedMemory() const { return false; }
  // Send() of a kBatch, kReply or kEvent with up to kMaxDescriptors descriptors, which stay the caller's. kMalformed, with
  // nothing sent and the channel as it was, where they cannot travel.
  virtual ChannelStatus SendWithDescriptors(MessageKind /*kind*/, uint64_t /*sequence*/,
                                            std::span<const std::span<const uint8_t>> /*parts*/,
                                            std::span<const int> /*descriptors*/) {
    return ChannelStatus::kMalformed;
  }

  // Whether memory can be named to the peer by its place in an area that both ends map, once there is a ring.
  virtual bool NamesPlaces() const { return false; }
  // By the server: Send() of a kReply or kEvent with such a place. kMalformed, with nothing sent, where that cannot be.
  virtual ChannelStatus SendWithPlace(MessageKind /*kind*/, uint64_t /*sequence*/,
                                      std::span<const std::span<const uint8_t>> /*parts*/, MemoryPlace /*place*/) {
    return ChannelStatus::kMalformed;
  }

  // After a handshake that agreed on it (runtime/handshake.h): from now on messages travel through memory that both ends map.
  // The server offers, the client takes, each before any other thread uses the channel; false when the channel is lost. Where
  // the memory cannot be had it stays a socket, for both. Only where OffersRing() says so.
  virtual bool OffersRing() const { return false; }
  virtual bool OfferRing() { return true; }
  virtual bool TakeRing() { return true; }
  // By the server: the number `key` has grown to `value`. Not a message but a store to shared memory, which wakes the peer's
  // receiver if that sleeps: it gets the value reached, after all messages sent before and ahead of all that are sent later.
  // False where there is no such memory, while messages sent before have not been received, or while somebody else sends: then a
  // message must say it.
  virtual bool Raise(uint64_t /*key*/, uint64_t /*value*/) { return false; }

  // After a handshake that agreed on it (runtime/handshake.h), by each end before any other thread uses the channel: from now on
  // either end may send what the other has to unpack. Only where OffersCompression() says so.
  virtual bool OffersCompression() const { return false; }
  virtual void StartCompression(Compression /*mode*/) {}

  // After a handshake that agreed on it (runtime/handshake.h), by each end before any other thread uses the channel: should the
  // connection break, the channel waits for another one and goes on over it; those who send and receive notice only time.
  // Only where OffersResume() says so.
  virtual bool OffersResume() const { return false; }
  virtual void StartResuming(const ResumeTerms& /*terms*/) {}
  // By the server: somebody who claims to be the peer has come by this socket, which the channel takes. Waits a little for what
  // it says. False, with a sentence, when it is not the peer: the channel is as it was.
  virtual bool Reconnect(Descriptor /*socket*/, const tls::Secrets& /*secrets*/, std::string* /*error*/) {
    return false;
  }
  // By the client: nothing comes over the connection any more, though neither end has closed it. Another one is sought, for so long.
  // False where there can be none, or one is sought already.
  virtual bool Renew(std::chrono::milliseconds /*patience*/) { return false; }
  // By the server, now and then: gives up a connection whose other machine has long acknowledged nothing. Any thread.
  virtual void CheckLine() {}
  // Whether the connection is broken at present, and another one is waited for. Any thread.
  virtual bool broken() const { return false; }
  // How often the channel went on over another connection. Any thread.
  virtual uint64_t resumptions() const { return 0; }

  // Whether Send() of a message of `bytes` would surely not wait now. A channel that cannot tell says no.
  virtual bool SendsAtOnce(size_t /*bytes*/) { return false; }

  // Waits up to `timeout` (negative: without limit) for one message.
  virtual ChannelStatus Receive(Message* message, std::chrono::milliseconds timeout) = 0;

  // Makes the Receive() in progress, or the next one, return kTimeout at once.
  virtual void Interrupt() = 0;

  // Wakes a peer that sleeps in Receive(), for nothing; where only what is sent can show that it is still there.
  virtual void Nudge() {}

  // Ends both directions; every call in progress and to come returns kClosed. Idempotent.
  virtual void Close() = 0;

  // Whether Receive() without waiting costs next to nothing, so that it may be called as often as somebody asks.
  virtual bool PollsForNothing() const { return false; }

  // Whether the peer is known to have gone, without receiving what it sent before. Any thread.
  virtual bool PeerEnded() { return false; }

  // After fork(), in the child: closes the file descriptors without a word to the peer and without taking a lock.
  virtual void AbandonAfterFork() = 0;

  // What carries the messages, for people: "ring", "unix socket", "tcp" …
  virtual const char* name() const { return "loopback"; }
  // A sentence for people about what went wrong; empty while all is well.
  virtual std::string error() const = 0;

  // Bytes since the start, with framing, as put into and taken from the transport.
  virtual uint64_t bytes_sent() const = 0;
  virtual uint64_t bytes_received() const = 0;
  // The same as they would have been without compression.
  virtual uint64_t unpacked_bytes_sent() const { return bytes_sent(); }
  virtual uint64_t unpacked_bytes_received() const { return bytes_received(); }
  // Of the bytes sent, how many are known to have left this machine's buffers for good: a line on which they still do is
  // alive, however slow. May be told too low, for a while. Any thread.
  virtual uint64_t bytes_delivered() const { return bytes_sent(); }
  // Bytes a second that the line has taken while it was what this end waited for; 0 where that was never so. Any thread.
  virtual uint64_t line_rate() const { return 0; }

  // How often this end woke the peer, and was woken by it, where whoever sends does that: in rings. Any thread.
  virtual uint64_t wakes_sent() const { return 0; }
  virtual uint64_t wakes_received() const { return 0; }

  // The peer's process id when the kernel vouches for it (Unix sockets), else 0.
  virtual int peer_pid() const { return 0; }
};

// Two ends in one process; what one sends the other receives. For tests and for a client inside the server's process.
struct ChannelPair {
  std::unique_ptr<Channel> client;
  std::unique_ptr<Channel> server;
};
ChannelPair MakeLoopback();

}  // namespace vesper
