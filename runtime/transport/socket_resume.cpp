// What a socket channel does more where its connection may be resumed (runtime/resume).
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <mutex>
#include <new>
#include <shared_mutex>
#include <string>

#include "runtime/handshake.h"
#include "runtime/transport/socket_channel.h"

namespace vesper::transport {
namespace {

constexpr size_t kVectors = 64;
constexpr size_t kKeptAtOnce = size_t{256}
                               << 10;  // of a message, so that what is copied is sent while the cache has it
// For what a peer says that has come by another connection: its first message is on the way by then.
constexpr std::chrono::milliseconds kGreetingTime{2000};
// How much longer than its own patience the client's thread may take to say so.
constexpr std::chrono::milliseconds kSlack{500};
// Of a machine to which something is on its way: what keepalive takes for one to which nothing is (socket_channel.cpp).
constexpr std::chrono::milliseconds kAcknowledges{20000};

}  // namespace

bool SocketChannel::OffersResume() const {
  return line_ == Line::kSocket && (family_ == AF_INET || family_ == AF_INET6 || family_ == AF_VSOCK);
}

void SocketChannel::StartResuming(const ResumeTerms& terms) {
  ResumeTerms own = terms;
  if (dial_ != nullptr) own.patience = terms.patience + kSlack;  // the mender keeps to the terms
  resumption_ = std::make_unique<resume::Resumption>(own, reader_.ahead());
  if (dial_ != nullptr) mender_ = std::make_unique<resume::Mender>(dial_, terms.patience);
}

// --- sending ------------------------------------------------------------------------------------------------------------

ChannelStatus SocketChannel::WriteKept(OutgoingFrame* frame) {
  while (!frame->done()) {
    std::array<iovec, kVectors> vectors;
    const size_t count = CutVectors(vectors, frame->Gather(vectors), kKeptAtOnce);
    size_t bytes = 0;
    for (size_t i = 0; i < count; ++i) bytes += vectors[i].iov_len;
    resumption_->Append(std::span(vectors).first(count));
    frame->Advance(bytes);
    if (!SendKept(true)) return ChannelStatus::kClosed;
  }
  return ChannelStatus::kOk;
}

bool SocketChannel::SendKept(bool may_wait) {
  size_t unsent = 0;
  if (meter_.measures() && HasUnsent(&unsent) && unsent == 0) meter_.RanDry();
  for (;;) {
    if (closed_.load()) return false;
    uint64_t connection = 0;
    switch (SendSomeKept(&connection)) {
      case Sent::kAll:
        return true;
      case Sent::kSome:
        break;
      case Sent::kFull:
        if (bounds_unsent_) meter_.Full(LineMeter::Clock::now());
        if (!may_wait) return false;
        if (WaitUntilWritable()) break;
        [[fallthrough]];
      case Sent::kBroken:
        if (!may_wait) return false;  // who receives finds that as well
        if (!resumption_->AwaitNotice(connection))
          AwaitAnother(connection, false, "the connection broke while sending");
        if (!resumption_->AwaitAfter(connection)) return false;
        break;
    }
  }
}

SocketChannel::Sent SocketChannel::SendSomeKept(uint64_t* connection) {
  const std::shared_lock line(resumption_->line());
  *connection = resumption_->connection();
  if (!resumption_->up()) return Sent::kBroken;
  const size_t allowance = Allowance();
  if (allowance == 0) return Sent::kFull;
  std::array<iovec, kVectors> vectors;
  const size_t offered = resumption_->Offer(vectors);
  if (offered == 0 && (tls_ == nullptr || !tls_->unsent())) return Sent::kAll;
  msghdr header{};
  header.msg_iov = vectors.data();
  header.msg_iovlen = CutVectors(vectors, offered, allowance);
  const ssize_t count = tls_ != nullptr ? tls_->Send(std::span(vectors).first(header.msg_iovlen))
                                        : ::sendmsg(socket_, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (count < 0 && errno == EINTR) return Sent::kSome;
  if (count < 0) return errno == EAGAIN || errno == EWOULDBLOCK ? Sent::kFull : Sent::kBroken;
  sent_.fetch_add(resumption_->Sent(static_cast<size_t>(count)), std::memory_order_relaxed);
  if (bounds_unsent_) meter_.Sent(static_cast<size_t>(count));
  return tls_ != nullptr && tls_->unsent() ? Sent::kFull : Sent::kSome;
}

// With the write mutex, between messages.
void SocketChannel::ConfirmLocked() {
  const uint64_t place = resumption_->TakeConfirmation();
  if (place == 0) return;
  const OutgoingFrame frame(MessageKind::kReceived, place, {});
  std::array<iovec, 4> pieces;
  resumption_->Append(std::span(pieces).first(frame.Gather(pieces)));
}

// Whoever holds the mutex calls this when it has let go of it.
void SocketChannel::TendLine(bool receives) {
  if (receives && resumption_->broken()) resumption_->Tick();
  if (receives && resumption_->over()) {
    if (!closed_.load()) failure_.Set(resumption_->why());
    peer_ended_.store(true);
    return;
  }
  bool full = false;
  while (owes_.load() && !full) {
    const std::unique_lock lock(write_mutex_, std::try_to_lock);
    if (!lock.owns_lock()) return;
    owes_.store(false);
    if (write_broken_ || closed_.load()) return;
    try {
      ConfirmLocked();
    } catch (const std::bad_alloc&) {
      owes_.store(true);
      return;
    }
    full = !SendKept(false);
    if (full) owes_.store(true);
  }
  if (full && !receives) WakeReceiver();  // which waits for room in the socket from now on
}

// --- receiving ----------------------------------------------------------------------------------------------------------

void SocketChannel::PrepareToWait(pollfd* entry, int* milliseconds) {
  if (resumption_->up()) {
    const std::unique_lock lock(write_mutex_, std::try_to_lock);
    if (owes_.load() && lock.owns_lock()) entry->events |= POLLOUT;
    return;
  }
  entry->fd = -1;
  const auto end = resumption_->patience_ends();
  if (end == resume::Resumption::Clock::time_point::max()) return;  // it has just been mended, and wake_ says so
  const auto rest = std::chrono::ceil<std::chrono::milliseconds>(end - resume::Resumption::Clock::now());
  const int left = static_cast<int>(std::clamp<int64_t>(rest.count(), 1, INT_MAX));
  *milliseconds = *milliseconds < 0 ? left : std::min(*milliseconds, left);
}

bool SocketChannel::AwaitAnother(uint64_t connection, bool closed, const std::string& why,
                                 std::chrono::milliseconds most) {
  const bool waits = mender_ == nullptr;  // the other end seeks this one
  const auto bound =
      most == std::chrono::milliseconds::max() ? most : most + kSlack;  // the mender is the first to give up
  if (!resumption_->Broke(connection, closed && waits, why, bound)) return !resumption_->over();
  ::shutdown(socket_, SHUT_RDWR);  // wakes who sends
  if (waits) return true;
  mender_->Start(
      resumption_.get(),
      [this](resume::Carrier carrier, uint64_t received) { return TakeOver(std::move(carrier), received); },
      [this] { WakeReceiver(); }, most);
  return true;
}

// --- connections that break without a word -------------------------------------------------------------------------------

bool SocketChannel::Renew(std::chrono::milliseconds patience) {
  if (mender_ == nullptr || closed_.load() || !resumption_->up()) return false;
  AwaitAnother(resumption_->connection(), false, "nothing came over the connection any more", patience);
  return true;
}

void SocketChannel::CheckLine() {
  if (resumption_ == nullptr || mender_ != nullptr || closed_.load()) return;
  uint64_t connection = 0;
  {
    const std::shared_lock line(resumption_->line());
    tcp_info info{};
    socklen_t length = sizeof(info);
    if (!resumption_->up() || ::getsockopt(socket_, IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return;
    if (!IsSilent(info, kAcknowledges)) return;
    connection = resumption_->connection();
  }
  AwaitAnother(connection, false, "the client's machine acknowledges nothing any more");
}

// A machine whose program does not read still acknowledges what asks whether it does.
bool IsSilent(const tcp_info& info, std::chrono::milliseconds patience) {
  constexpr unsigned kTries = 2;
  return (info.tcpi_retransmits >= kTries || info.tcpi_probes >= kTries) && info.tcpi_last_ack_recv >= patience.count();
}

// --- another connection -------------------------------------------------------------------------------------------------

bool SocketChannel::TakeOver(resume::Carrier carrier, uint64_t received) {
  const std::unique_lock line(resumption_->line());
  return TakeOverLocked(&carrier, received);
}

// With the line alone. The number of the socket stays the same, so that nobody who waits for it has to be told another one.
bool SocketChannel::TakeOverLocked(resume::Carrier* carrier, uint64_t received) {
  if (closed_.load() || !resumption_->GoOn(received)) return false;
  ::shutdown(socket_, SHUT_RDWR);  // wakes who waits for the one before
  ::dup3(carrier->socket.get(), socket_, O_CLOEXEC);
  if (carrier->tls != nullptr) carrier->tls->UseSocket(socket_);
  tls_ = std::move(carrier->tls);
  TuneAgain();
  owes_.store(true);
  WakeReceiver();
  return true;
}

bool SocketChannel::Reconnect(Descriptor socket, const tls::Secrets& secrets, std::string* error) {
  resume::Carrier carrier;
  std::vector<uint8_t> bytes;
  if (!carrier.Accept(std::move(socket), secrets, error)) return false;
  *error = "it did not say in time which session it resumes";
  if (!carrier.Receive(kMaxFirstHelloBytes, Deadline(kGreetingTime), &bytes)) return false;
  const auto refuse = [&](const std::string& why) {
    *error = why;
    carrier.Send(EncodeNotice(MessageKind::kRefused, why));
    ::shutdown(carrier.socket.get(), SHUT_WR);
    return false;
  };
  Hello hello;
  if (HearHello(bytes, &hello, error) != Heard::kHello) return refuse("what it says is no Hello");
  if (resumption_ == nullptr || !resumption_->Knows(hello.resume)) return refuse("it is not the session's client");
  // From now on nothing is read of the connection before, so that what the client is told has come is all that has.
  resumption_->Broke(resumption_->connection(), false, "another connection has come");
  const std::unique_lock line(resumption_->line());
  if (closed_.load() || resumption_->over()) return refuse("the session has ended");
  Welcome welcome;
  welcome.session = hello.resume.session;
  welcome.received = resumption_->received();
  *error = "the connection that came has broken as well";
  if (!carrier.Send(EncodeWelcome(welcome))) return false;
  *error = "it claims to have what was never sent";
  return TakeOverLocked(&carrier, hello.resume.received);
}

}  // namespace vesper::transport
