// The channel over a connected stream socket, TCP, with TLS or without, vsock or Unix, or over a port of a guest: a device there,
// and a Unix socket of the host. Made by Connect(), MakeSocketChannel() and MakeGuestChannel() in runtime/address.h.
#pragma once

#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/channel.h"
#include "runtime/resume/mender.h"
#include "runtime/resume/resumption.h"
#include "runtime/tls/stream.h"
#include "runtime/transport/deadline.h"
#include "runtime/transport/failure.h"
#include "runtime/transport/frame.h"
#include "runtime/transport/frame_reader.h"
#include "runtime/transport/line_meter.h"
#include "runtime/transport/packing.h"

namespace vesper::transport {

// Cuts what is to be written to so many bytes; returns how many vectors are left.
size_t CutVectors(std::span<iovec> vectors, size_t count, size_t bytes);

// Whether the other machine has acknowledged nothing for so long, of what it was sent more than once.
bool IsSilent(const tcp_info& info, std::chrono::milliseconds patience);

// Non-blocking socket and poll(); no event loop, no signal. File descriptors live until the
// destructor, so that a thread in a system call never sees a number that was reused; Close() only
// shuts the socket down.
class SocketChannel final : public Channel {
 public:
  enum class Line : uint8_t { kSocket, kPort };
  // Owns all: a connected non-blocking socket or port, an eventfd, and what protects the socket's bytes, or nullptr. With `dial`
  // a client's end connects again.
  SocketChannel(int socket, int wake, std::unique_ptr<tls::Stream> tls, Line line = Line::kSocket,
                resume::Dial dial = {});
  // Closes without shutting down: another process may hold the same socket.
  ~SocketChannel() override;

  ChannelStatus Send(MessageKind kind, uint64_t sequence, std::span<const std::span<const uint8_t>> parts) override;
  bool CarriesDescriptors() const override { return carries_descriptors_; }
  ChannelStatus SendWithDescriptors(MessageKind kind, uint64_t sequence,
                                    std::span<const std::span<const uint8_t>> parts,
                                    std::span<const int> descriptors) override;
  bool OffersCompression() const override { return line_ == Line::kSocket && !carries_descriptors_; }
  void StartCompression(Compression mode) override;
  bool OffersResume() const override;
  void StartResuming(const ResumeTerms& terms) override;
  bool Reconnect(Descriptor socket, const tls::Secrets& secrets, std::string* error) override;
  bool Renew(std::chrono::milliseconds patience) override;
  void CheckLine() override;
  bool broken() const override { return resumption_ != nullptr && resumption_->broken(); }
  uint64_t resumptions() const override { return resumption_ == nullptr ? 0 : resumption_->resumptions(); }
  bool SendsAtOnce(size_t bytes) override;
  ChannelStatus Receive(Message* message, std::chrono::milliseconds timeout) override;
  void Interrupt() override;
  // Of a port: the peer's Receive() returns kTimeout.
  void Nudge() override;
  void Close() override;
  void AbandonAfterFork() override;

  bool PeerEnded() override;
  const char* name() const override;
  std::string error() const override {
    std::string said = protest_.Get();
    return said.empty() ? failure_.Get() : said;
  }
  uint64_t bytes_sent() const override { return sent_.load(std::memory_order_relaxed); }
  uint64_t bytes_received() const override { return received_.load(std::memory_order_relaxed); }
  uint64_t bytes_delivered() const override;
  uint64_t unpacked_bytes_sent() const override { return bytes_sent() + saved_.load(std::memory_order_relaxed); }
  uint64_t unpacked_bytes_received() const override {
    return bytes_received() + received_saved_.load(std::memory_order_relaxed);
  }
  uint64_t line_rate() const override;
  int peer_pid() const override { return peer_pid_; }

 private:
  enum class Wait : uint8_t { kReady, kTimeout, kAgain };

  // What one recvmsg() brought beside bytes.
  struct Arrival {
    std::vector<Descriptor> descriptors;
    bool truncated = false;  // some could not be taken
  };

  ChannelStatus SendFrame(MessageKind kind, uint64_t sequence, std::span<const std::span<const uint8_t>> parts,
                          std::span<const int> descriptors);
  ChannelStatus Write(OutgoingFrame* frame, std::span<const int> descriptors);
  bool WaitUntilWritable();
  // The same where the connection may be resumed: of the frame a copy is kept.
  ChannelStatus WriteKept(OutgoingFrame* frame);
  // With the write mutex: sends what is kept and has not been sent over this connection. False when some is left: it would have to
  // wait, and may not; or the channel has ended.
  bool SendKept(bool may_wait);
  enum class Sent : uint8_t { kSome, kAll, kFull, kBroken };
  Sent SendSomeKept(uint64_t* connection);
  // Sends what is owed to the peer besides messages, as far as that needs no waiting and nobody else is sending. By who receives,
  // it also looks whether all is over.
  void TendLine(bool receives);
  void ConfirmLocked();
  // The connection has ended. False when nothing can follow it.
  bool AwaitAnother(uint64_t connection, bool closed, const std::string& why,
                    std::chrono::milliseconds most = std::chrono::milliseconds::max());
  bool TakeOver(resume::Carrier carrier, uint64_t received);
  bool TakeOverLocked(resume::Carrier* carrier, uint64_t received);
  // The number of the socket stands for another one from now on.
  void TuneAgain() const;
  void WakeReceiver() const;
  // Packs data where that pays: `parts` then becomes the one part given.
  Packed Pack(std::span<const std::span<const uint8_t>>* parts, std::span<const uint8_t>* part);
  // How many bytes may wait in the kernel beyond those on their way, and how many more the kernel may get now.
  size_t UnsentBound() const;
  size_t Allowance();
  bool HasUnsent(size_t* bytes) const;
  ChannelStatus ReceiveNext(Message* message, const Deadline& deadline, bool may_wait);
  Wait WaitUntilReadable(const Deadline& deadline);
  // What to wait for besides, and how long, where the connection may be resumed.
  void PrepareToWait(pollfd* entry, int* milliseconds);
  // One recvmsg(); false when nothing was there.
  bool Read();
  ssize_t ReadInto(msghdr* header, uint64_t* connection, std::string* protest);
  void TakeArrival(const msghdr& header);
  // Gives the message what came with it; false for a peer that announced something else.
  bool HandOverDescriptors(Message* message);
  ChannelStatus UnannouncedDescriptors();
  bool TakeInterrupt();
  bool is_device() const { return line_ == Line::kPort && family_ == AF_UNSPEC; }
  void CloseDescriptors();

  int socket_;
  int wake_;
  std::unique_ptr<tls::Stream> tls_;  // another one after the connection was resumed, which nobody uses meanwhile
  int peer_pid_ = 0;
  const Line line_;
  const int family_;  // of addresses: AF_UNIX …; AF_UNSPEC: it is no socket but a device
  const bool carries_descriptors_;
  const resume::Dial dial_;
  std::unique_ptr<resume::Resumption> resumption_;  // nullptr: the connection is all there is
  std::unique_ptr<resume::Mender> mender_;          // the client's
  std::atomic<bool> owes_ = false;                  // something is to be sent that is no message
  bool abandoned_ = false;                          // by the child of a fork
  bool bounds_unsent_ = false;                      // TCP keeps little beyond what is on its way
  std::atomic<bool> closed_ = false;                // by this end
  std::atomic<bool> peer_ended_ = false;            // found by the receiver
  std::atomic<bool> interrupted_ = false;
  std::atomic<uint64_t> sent_ = 0;
  std::atomic<uint64_t> received_ = 0;
  std::atomic<uint64_t> saved_ = 0;  // by packing
  std::atomic<uint64_t> received_saved_ = 0;
  Failure failure_;
  Failure protest_;  // what the peer says is wrong, which counts for more than what this end found

  std::mutex write_mutex_;  // one message is written at a time; Receive() never takes it
  // Guarded by write_mutex_: a message was cut short, or the peer is gone.
  bool write_broken_ = false;
  LineMeter meter_;  // written by who sends
  Packer packer_;
  std::atomic<float> packed_share_ = 1;  // of large messages lately
  std::atomic<size_t> low_water_ = 0;    // the kernel's bound; changed by who sends

  // The receiving thread's.
  FrameReader reader_;
  bool drained_ = true;           // the last read took everything: poll before reading again
  std::deque<Arrival> arrivals_;  // of messages that are not complete yet, in order
  bool unannounced_ = false;      // the peer sent descriptors that no message announces
};

}  // namespace vesper::transport
