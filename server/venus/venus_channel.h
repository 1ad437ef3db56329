// The front end for Mesa's stock Venus driver: to the session a channel like any other, to the driver its renderer. What the
// driver puts into its rings and onto its socket becomes batches of the session's own records; replies go where the driver wants
// them, events nowhere: it learns of completion by memory that the device writes.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "runtime/channel.h"
#include "server/agent/agent_port.h"
#include "server/venus/resources.h"
#include "server/venus/stream.h"
#include "server/venus/syncs.h"
#include "server/venus/translator.h"
#include "server/venus/vtest.h"

namespace vesper::venus {

class VenusChannel final : public Channel {
 public:
  struct Options {
    uint32_t objects;
    size_t command_bytes;
    // Is given what the driver said, a command at a time, and the replies that it got, where that is wanted.
    std::function<void(uint32_t number, bool is_reply, std::span<const uint8_t> bytes)> tap = nullptr;
  };
  // Takes over a connected socket.
  VenusChannel(int socket, Options options);
  // Or speaks to the driver of a guest, whose agent's port lives longer.
  VenusChannel(server::AgentPort* agent, Options options);
  ~VenusChannel() override;

  ChannelStatus Send(MessageKind kind, uint64_t sequence, std::span<const std::span<const uint8_t>> parts) override;
  bool CarriesDescriptors() const override { return agent_ == nullptr; }
  bool NamesPlaces() const override { return agent_ != nullptr; }
  bool NeedsSharedMemory() const override { return true; }
  ChannelStatus SendWithDescriptors(MessageKind kind, uint64_t sequence,
                                    std::span<const std::span<const uint8_t>> parts,
                                    std::span<const int> descriptors) override;
  ChannelStatus SendWithPlace(MessageKind kind, uint64_t sequence, std::span<const std::span<const uint8_t>> parts,
                              MemoryPlace place) override;
  void Nudge() override;
  bool SendsAtOnce(size_t) override { return true; }
  bool Raise(uint64_t, uint64_t) override { return true; }  // the driver sees completion in its memory
  ChannelStatus Receive(Message* message, std::chrono::milliseconds timeout) override;
  void Interrupt() override { Wake(); }
  void Close() override;
  bool PollsForNothing() const override { return true; }
  void AbandonAfterFork() override {}
  const char* name() const override { return "venus"; }
  std::string error() const override;
  uint64_t bytes_sent() const override { return socket_.sent(); }
  uint64_t bytes_received() const override {
    return (agent_ == nullptr ? socket_.received() : agent_->received()) + taken_;
  }
  // How often nobody looked at the rings; any thread.
  uint64_t sleeps() const { return sleeps_; }

 private:
  using Clock = std::chrono::steady_clock;
  VenusChannel(int socket, server::AgentPort* agent, Options options);

  // The session's thread, with the lock. True where there is a message now, or will be no more.
  bool Look(Message* message);
  bool Fail(std::string what);
  void TellHeads();
  void TellHead(Stream* stream);
  void Pause(Clock::time_point since);
  void Sleep();
  void Wake() const;

  // Of the socket.
  bool ReadSocket(Message* message);
  bool Handle(const VtestMessage& message, Message* out);
  bool Describe(const VtestMessage& message);
  bool CreateBlob(const VtestMessage& message);
  bool Submit(const VtestMessage& message);

  // Of a stream of commands.
  bool Advance(Stream* stream, wire::ByteBuffer* batch);
  bool Step(Stream* stream, wire::ByteBuffer* batch);
  bool IsHeld(Stream* stream, wire::ByteBuffer* batch);
  bool MayAdvance(const Stream& stream);
  bool IsAwaited(const Stream& stream);
  bool Own(Stream* stream, uint32_t number, Reader* reader);
  bool OwnOfRings(uint32_t number, Reader* reader);
  bool SetReplies(Stream* stream, Reader* reader);
  bool CreateRing(Reader* reader);
  bool Execute(Stream* stream, Reader* reader);
  Stream* RingOf(uint64_t key);
  ChannelStatus SendNamed(MessageKind kind, uint64_t sequence, std::span<const std::span<const uint8_t>> parts,
                          MemoryName memory);
  void TakeReply(uint64_t sequence, std::span<const uint8_t> payload, MemoryName memory);
  void TakeEvents(std::span<const uint8_t> payload);

  const Options options_;
  server::AgentPort* const agent_;  // null: the driver is on this machine
  VtestSocket socket_;
  int wake_;  // an eventfd
  std::atomic<bool> closed_ = false;
  std::atomic<bool> asleep_ = false;
  std::atomic<uint64_t> taken_ = 0;  // bytes from rings
  std::atomic<uint64_t> sleeps_ = 0;

  mutable std::mutex mutex_;  // guards all that follows but rings' words, which are atomic
  Resources resources_;
  Syncs syncs_;
  Translator translator_;
  Stream from_socket_;
  std::vector<std::unique_ptr<Stream>> rings_;
  size_t next_ring_ = 0;
  uint64_t sequence_ = 0;
  uint32_t socket_turns_ = 0;
  bool look_at_socket_ = true;     // the session's thread: the next time
  bool looked_at_socket_ = false;  // the session's thread: the last time
  bool gave_ = false;           // the session's thread: a message, which it is about to be done with
  bool greeted_ = false;
  std::string error_;
  Clock::time_point busy_;
  wire::ByteBuffer batch_;

  std::mutex alive_mutex_;  // guards rings_'s members against the thread that says that they live; taken after mutex_
  std::condition_variable alive_changed_;
  bool ending_ = false;
  std::thread alive_;
};

}  // namespace vesper::venus
