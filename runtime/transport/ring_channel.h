// The channel of two processes on one kernel, or of a guest and its host: messages go through rings in shared memory, what is
// large or brings file descriptors beside them through a Unix socket, which also tells when the peer is gone. A guest has a port
// instead, which carries the wake-ups as well, and no descriptors: memory is named by its place in the area (runtime/area.h). Until the two have agreed on the
// memory (Offer, Take) everything goes through the socket, and where they do not it stays so.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "runtime/channel.h"
#include "runtime/transport/deadline.h"
#include "runtime/transport/doorbell.h"
#include "runtime/transport/failure.h"
#include "runtime/transport/ring.h"
#include "runtime/transport/ring_memory.h"

namespace vesper::transport {

enum class RingEnd : uint8_t { kClient, kServer };

// What it cost: for tests and statistics.
struct RingCounts {
  std::atomic<uint64_t> wakes{0};   // of the peer
  std::atomic<uint64_t> woken{0};   // by the peer, as often as it says so
  std::atomic<uint64_t> sleeps{0};  // in Receive() and for room
  std::atomic<uint64_t> beside{0};  // messages sent through the socket
  std::atomic<uint64_t> copies{0};  // of payloads into the ring: what was encoded there is none
};

// Threads. The ring's writer is whoever holds the write mutex, its reader the one in Receive(). A thread that is about to sleep
// stores so in the shared page and then looks again; whoever publishes stores and then looks for sleepers: one of the two sees
// the other. Nobody sleeps for long without a look at the socket, so that a peer that was killed is noticed.
class RingChannel final : public Channel {
 public:
  // Over a Unix socket's channel, or a port's and an area.
  explicit RingChannel(std::unique_ptr<Channel> socket, std::shared_ptr<Area> area = nullptr);
  ~RingChannel() override;

  // Switches to memory that both ends have. Before any other thread uses the channel, and when nothing is on its way.
  void Begin(std::unique_ptr<RingMemory> memory, RingEnd end, Doorbell* doorbell = FutexDoorbell());

  ChannelStatus Send(MessageKind kind, uint64_t sequence, std::span<const std::span<const uint8_t>> parts) override;
  std::span<uint8_t> Reserve(size_t bytes) override;
  ChannelStatus Commit(MessageKind kind, uint64_t sequence, size_t bytes) override;
  bool CarriesDescriptors() const override { return socket_->CarriesDescriptors(); }
  ChannelStatus SendWithDescriptors(MessageKind kind, uint64_t sequence,
                                    std::span<const std::span<const uint8_t>> parts,
                                    std::span<const int> descriptors) override;

  bool NamesPlaces() const override { return area_ != nullptr; }
  ChannelStatus SendWithPlace(MessageKind kind, uint64_t sequence, std::span<const std::span<const uint8_t>> parts,
                              MemoryPlace place) override;
  void Nudge() override { socket_->Nudge(); }

  bool OffersRing() const override { return socket_->CarriesDescriptors() || area_ != nullptr; }
  bool OfferRing() override;
  bool TakeRing() override;
  bool Raise(uint64_t key, uint64_t value) override;
  // Whether this end's receiver is woken together with a peer that Raise() wakes, for what that is going to send: two wake-ups
  // at once take less time than one after the other. The default: where processors are to spare. Before Begin().
  void ExpectAnswers(bool expects) { expects_ = expects; }

  bool SendsAtOnce(size_t bytes) override;
  ChannelStatus Receive(Message* message, std::chrono::milliseconds timeout) override;
  void Interrupt() override;
  void Close() override;
  void AbandonAfterFork() override;
  bool PeerEnded() override { return socket_->PeerEnded(); }
  bool PollsForNothing() const override { return has_ring_; }

  const char* name() const override { return has_ring_ ? "ring" : socket_->name(); }
  std::string error() const override;
  uint64_t bytes_sent() const override { return socket_->bytes_sent() + sent_.load(std::memory_order_relaxed); }
  uint64_t bytes_received() const override {
    return socket_->bytes_received() + received_.load(std::memory_order_relaxed);
  }
  uint64_t bytes_delivered() const override;
  uint64_t wakes_sent() const override { return counts_.wakes.load(std::memory_order_relaxed); }
  uint64_t wakes_received() const override { return counts_.woken.load(std::memory_order_relaxed); }
  int peer_pid() const override { return socket_->peer_pid(); }

  const RingCounts& counts() const { return counts_; }
  // Whether the peer's receiver sleeps, for tests.
  bool peer_sleeps() const { return peer_->reader.asleep.load() != 0; }

 private:
  // With the write mutex held.
  ChannelStatus SendInRing(MessageKind kind, uint64_t sequence, std::span<const std::span<const uint8_t>> parts,
                           size_t bytes, RingFlag flag);
  ChannelStatus SendBeside(MessageKind kind, uint64_t sequence, std::span<const std::span<const uint8_t>> parts,
                           std::span<const int> descriptors);
  uint8_t* AwaitRoom(size_t payload);
  void PublishAndWake();

  ChannelStatus ReceiveNext(Message* message, const Deadline& deadline, bool may_wait);
  ChannelStatus TakeFrame(Message* message);
  ChannelStatus ReceiveBeside(Message* message, const Deadline& deadline, bool may_wait);
  ChannelStatus ReceiveLastWords(Message* message);
  ChannelStatus TakeUnannounced(Message* message);
  ChannelStatus Malformed();
  bool TakePlace(Message* message);
  bool TakeNumbers(Message* message);
  bool HasNews() const;
  // Spins for a moment or sleeps until there may be news.
  void AwaitNews(const Deadline& deadline);
  bool Spin();
  uint32_t ThisProcessor() const;
  void SleepInPort(std::chrono::nanoseconds time);
  void CountWake(RingSleeper* place);

  static constexpr unsigned kSpareProcessors = 4;

  template <typename Ready>
  void SleepAt(RingSleeper* place, std::chrono::nanoseconds time, Ready ready);
  bool Wake(RingSleeper* place);
  void WakeOwn(RingSleeper* place);
  void FinishFrame();
  // As the page says / after a look at the socket as well.
  bool PeerGoneOrClosed() const;
  bool PeerGone();
  void LookNowAndThen();

  const std::unique_ptr<Channel> socket_;
  const std::shared_ptr<Area> area_;  // nullptr: the peer shares this kernel
  Doorbell* doorbell_ = nullptr;
  std::unique_ptr<RingMemory> memory_;
  RingPage* page_ = nullptr;
  RingSide* own_ = nullptr;
  RingSide* peer_ = nullptr;
  RingEnd end_ = RingEnd::kClient;
  std::atomic<bool> has_ring_ = false;  // what is above stays as it is from then on
  bool abandoned_ = false;
  bool expects_ = std::thread::hardware_concurrency() >= kSpareProcessors;

  std::atomic<bool> closed_ = false;     // by this end
  std::atomic<bool> peer_gone_ = false;  // or what it stores makes no sense
  std::atomic<bool> interrupted_ = false;
  std::atomic<bool> expecting_ = false;  // what a woken peer is about to send
  std::atomic<uint64_t> sent_ = 0;
  std::atomic<uint64_t> received_ = 0;
  RingCounts counts_;
  Failure failure_;

  std::mutex write_mutex_;  // one message is written at a time; Receive() never takes it
  std::unique_ptr<RingWriter> writer_;
  size_t reserved_ = 0;  // bytes in which the next frame's payload is being encoded
  // Guarded by write_mutex_: whose the page's numbers are.
  std::array<uint64_t, RingPage::kNumbers> keys_{};
  size_t used_keys_ = 0;
  uint64_t raises_ = 0;

  // The receiving thread's.
  std::unique_ptr<RingReader> reader_;
  bool beside_ = false;                  // the next message is in the socket
  std::atomic<bool> in_socket_ = false;  // the receiver is inside the socket's Receive()
  Message stash_;                        // what came through the port while the receiver slept there
  bool stashed_ = false;
  bool malformed_ = false;  // what came there is no message
  uint64_t raised_ = 0;     // of the page, that were looked at
  std::array<uint64_t, RingPage::kNumbers> known_{};
  std::chrono::steady_clock::time_point looked_{};  // at the socket
  unsigned vain_ = 0;                               // spins in a row that ended in sleep
};

}  // namespace vesper::transport
