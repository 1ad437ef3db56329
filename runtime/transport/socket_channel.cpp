#include "runtime/transport/socket_channel.h"

#include <fcntl.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <new>
#include <shared_mutex>
#include <system_error>

#include "runtime/address.h"

namespace vesper::transport {
namespace {

constexpr size_t kVectors = 64;         // pieces given to one sendmsg()
constexpr int kLookMilliseconds = 100;  // at whether a device was closed by another thread
// Bytes that TCP takes beyond those on their way. Whatever is sent next is behind them, so more than the line carries in a
// millisecond is only delay; but a fast line must not run dry while the sender is woken.
constexpr size_t kMostUnsent = size_t{512} << 10;
constexpr size_t kUsualUnsent = size_t{128} << 10;
constexpr size_t kLeastUnsent = size_t{16} << 10;
constexpr uint64_t kUnsentOfSecond = 1000;
// What the kernel gets at once where it has to be looked after, so that it is not always a few bytes that are missing.
constexpr size_t kLeastGiven = size_t{2} << 10;
// Messages with descriptors are handed over before more is read: no peer of ours has more waiting.
constexpr size_t kMaxArrivals = 4;

std::string Reason(int error) { return std::generic_category().message(error); }

int FamilyOf(int socket) {
  sockaddr_storage name{};
  socklen_t length = sizeof(name);
  return getsockname(socket, reinterpret_cast<sockaddr*>(&name), &length) == 0 ? name.ss_family : AF_UNSPEC;
}

int PeerPid(int socket) {
  ucred peer{};
  socklen_t length = sizeof(peer);
  return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 ? peer.pid : 0;
}

// Room for the descriptors of one message, aligned as the kernel wants it.
struct Control {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxDescriptors * sizeof(int))> bytes{};
};

void Attach(std::span<const int> descriptors, Control* control, msghdr* header) {
  if (descriptors.empty()) return;
  header->msg_control = control->bytes.data();
  header->msg_controllen = CMSG_SPACE(descriptors.size_bytes());
  cmsghdr* attached = CMSG_FIRSTHDR(header);
  attached->cmsg_level = SOL_SOCKET;
  attached->cmsg_type = SCM_RIGHTS;
  attached->cmsg_len = CMSG_LEN(descriptors.size_bytes());
  std::memcpy(CMSG_DATA(attached), descriptors.data(), descriptors.size_bytes());
}

// Keepalive finds machines that are gone while nothing is on its way to them, CheckLine() the others, and a client that hears
// nothing Renew()s. No TCP_USER_TIMEOUT: it would end connections whose peer merely does not read.
void TuneTcp(int socket) {
  const auto set = [socket](int level, int name, int value) {
    setsockopt(socket, level, name, &value, sizeof(value));  // fails, harmlessly, on Unix sockets
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 10);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 3);
  set(IPPROTO_TCP, TCP_KEEPCNT, 3);
}

bool BoundUnsent(int socket, size_t bytes) {
  const int bound = static_cast<int>(bytes);
  return setsockopt(socket, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bound, sizeof(bound)) == 0;
}

}  // namespace

size_t CutVectors(std::span<iovec> vectors, size_t count, size_t bytes) {
  for (size_t i = 0; i < count; ++i) {
    if (vectors[i].iov_len >= bytes) {
      vectors[i].iov_len = bytes;
      return i + 1;
    }
    bytes -= vectors[i].iov_len;
  }
  return count;
}

SocketChannel::SocketChannel(int socket, int wake, std::unique_ptr<tls::Stream> tls, Line line, resume::Dial dial)
    : socket_(socket),
      wake_(wake),
      tls_(std::move(tls)),
      line_(line),
      family_(FamilyOf(socket)),
      carries_descriptors_(tls_ == nullptr && line == Line::kSocket && family_ == AF_UNIX),
      dial_(std::move(dial)),
      reader_(line == Line::kPort) {
  if (carries_descriptors_) peer_pid_ = PeerPid(socket);
  TuneTcp(socket);
  bounds_unsent_ = !carries_descriptors_ && BoundUnsent(socket, kUsualUnsent);
  low_water_ = kUsualUnsent;
}

void SocketChannel::TuneAgain() const {
  TuneTcp(socket_);
  if (bounds_unsent_) BoundUnsent(socket_, low_water_);
}

const char* SocketChannel::name() const {
  if (carries_descriptors_) return "unix socket";
  if (line_ == Line::kPort) return "port";
  return family_ == AF_VSOCK ? "vsock" : "tcp";
}

SocketChannel::~SocketChannel() {
  // A fork may have left its locks as they were.
  if (resumption_ != nullptr && !abandoned_) resumption_->End("the channel is closed");
  mender_.reset();
  CloseDescriptors();
}

void SocketChannel::CloseDescriptors() {
  if (socket_ >= 0) ::close(socket_);
  if (wake_ >= 0) ::close(wake_);
  socket_ = wake_ = -1;
}

void SocketChannel::Close() {
  if (closed_.exchange(true)) return;
  if (mender_ != nullptr) mender_->Cancel();
  if (resumption_ != nullptr) resumption_->End("the channel is closed");
  ::shutdown(socket_, SHUT_RDWR);  // wakes whoever polls
  if (is_device() || resumption_ != nullptr)
    WakeReceiver();  // a device knows no such thing; a broken one is not polled
}

void SocketChannel::WakeReceiver() const {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_, &one, sizeof(one));
}

void SocketChannel::AbandonAfterFork() {
  closed_.store(true);
  abandoned_ = true;
  if (mender_ != nullptr) mender_->AbandonAfterFork();
  CloseDescriptors();
}

void SocketChannel::Interrupt() {
  if (closed_.load()) return;
  interrupted_.store(true);  // before the write, or a receiver could drain it and sleep again
  WakeReceiver();
}

// Whole or not at all: if the peer's buffer has no room for it, there is enough in it to wake the peer.
void SocketChannel::Nudge() {
  if (line_ != Line::kPort) return;
  const std::lock_guard lock(write_mutex_);
  if (closed_.load() || write_broken_) return;
  const ssize_t count = is_device()
                            ? ::write(socket_, kWakeFrame.data(), kWakeFrame.size())
                            : ::send(socket_, kWakeFrame.data(), kWakeFrame.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (count > 0) sent_.fetch_add(static_cast<uint64_t>(count), std::memory_order_relaxed);
  if (count > 0 && static_cast<size_t>(count) < kWakeFrame.size()) write_broken_ = true;
}

ChannelStatus SocketChannel::Send(MessageKind kind, uint64_t sequence,
                                  std::span<const std::span<const uint8_t>> parts) {
  return SendFrame(kind, sequence, parts, {});
}

ChannelStatus SocketChannel::SendWithDescriptors(MessageKind kind, uint64_t sequence,
                                                 std::span<const std::span<const uint8_t>> parts,
                                                 std::span<const int> descriptors) {
  if (!carries_descriptors_ || !CarriesData(kind) || descriptors.size() > kMaxDescriptors) {
    failure_.Set("file descriptors cannot travel with this message");
    return ChannelStatus::kMalformed;
  }
  return SendFrame(kind, sequence, parts, descriptors);
}

ChannelStatus SocketChannel::SendFrame(MessageKind kind, uint64_t sequence,
                                       std::span<const std::span<const uint8_t>> parts,
                                       std::span<const int> descriptors) {
  if (closed_.load() || peer_ended_.load()) return ChannelStatus::kClosed;
  try {
    if (std::string why = CheckMessage(kind, parts); !why.empty()) {
      failure_.Set(std::move(why));
      return ChannelStatus::kMalformed;
    }
    if (resumption_ != nullptr && !resumption_->AwaitRoom()) return ChannelStatus::kClosed;
    std::unique_lock lock(write_mutex_);
    if (closed_.load() || write_broken_) return ChannelStatus::kClosed;
    std::span<const uint8_t> part;
    const Packed packed = descriptors.empty() && CarriesData(kind) ? Pack(&parts, &part) : Packed{};
    OutgoingFrame frame(kind, sequence, parts, descriptors.size(), packed);
    write_broken_ = true;
    const ChannelStatus status = resumption_ != nullptr ? WriteKept(&frame) : Write(&frame, descriptors);
    if (status == ChannelStatus::kOk) write_broken_ = false;
    lock.unlock();
    if (owes_.load()) TendLine(false);  // who wanted to say something meanwhile left it to this thread
    return status;
  } catch (const std::exception& exception) {  // std::bad_alloc: nothing was sent yet
    failure_.Set(std::string("cannot send: ") + exception.what());
    return ChannelStatus::kClosed;
  }
}

void SocketChannel::StartCompression(Compression mode) {
  packer_.Start(mode);
  reader_.AcceptPacked();
}

Packed SocketChannel::Pack(std::span<const std::span<const uint8_t>>* parts, std::span<const uint8_t>* part) {
  constexpr size_t kLarge = size_t{4} << 10;
  const size_t bytes = TotalBytes(*parts);
  const Packing packing = packer_.Wants(bytes, meter_.rate()) ? packer_.Pack(*parts, part) : Packing::kNone;
  const size_t sent = packing == Packing::kNone ? bytes : part->size();
  if (bytes >= kLarge) {
    const float share = packed_share_.load(std::memory_order_relaxed);
    packed_share_.store(share + (static_cast<float>(sent) / static_cast<float>(bytes) - share) / 8);
  }
  if (packing == Packing::kNone) return {};
  saved_.fetch_add(bytes - sent, std::memory_order_relaxed);
  *parts = {part, 1};
  return {static_cast<uint8_t>(packing), static_cast<uint32_t>(bytes)};
}

// In bytes before they are packed.
uint64_t SocketChannel::line_rate() const {
  const float share = std::max(packed_share_.load(std::memory_order_relaxed), 1.0f / 256);
  return static_cast<uint64_t>(static_cast<float>(meter_.rate()) / share);
}

// The kernel counts its own memory against the buffer's size, about twice the bytes at worst. A yes that is not kept makes who must
// not wait wait, for ever perhaps: for a peer that itself waits to be read.
bool SocketChannel::SendsAtOnce(size_t bytes) {
  constexpr size_t kOverhead = 4096;                        // of frame and record, and kLeastGiven
  if (closed_.load() || family_ == AF_VSOCK) return false;  // a vsock does not count what it has sent there
  if (resumption_ != nullptr && !resumption_->HasRoom(bytes)) return false;
  std::array<uint32_t, SK_MEMINFO_VARS> use{};
  socklen_t length = sizeof(use);
  if (::getsockopt(socket_, SOL_SOCKET, SO_MEMINFO, use.data(), &length) != 0) return false;
  const size_t used = std::max(use[SK_MEMINFO_WMEM_ALLOC], use[SK_MEMINFO_WMEM_QUEUED]);
  if (used + 2 * bytes + kOverhead > use[SK_MEMINFO_SNDBUF]) return false;
  // The kernel's bound may be lower than the one that is due, which it is told when they differ by much.
  const size_t bound = std::min(UnsentBound(), low_water_.load(std::memory_order_relaxed));
  if (!bounds_unsent_ || used + bytes + kOverhead < bound) return true;
  size_t unsent = 0;
  return HasUnsent(&unsent) && unsent + bytes + kOverhead < bound;
}

size_t SocketChannel::UnsentBound() const {
  const uint64_t rate = meter_.rate();
  if (rate == 0) return kUsualUnsent;
  return static_cast<size_t>(std::clamp<uint64_t>(rate / kUnsentOfSecond, kLeastUnsent, kMostUnsent));
}

bool SocketChannel::HasUnsent(size_t* bytes) const {
  int unsent = 0;
  if (::ioctl(socket_, SIOCOUTQNSD, &unsent) != 0 || unsent < 0) return false;
  *bytes = static_cast<size_t>(unsent);
  return true;
}

// The kernel itself keeps to its bound only when it begins another buffer of 64 KiB, so a slow line is looked after here.
size_t SocketChannel::Allowance() {
  if (!bounds_unsent_) return SIZE_MAX;
  const size_t bound = UnsentBound();
  const size_t known = low_water_.load(std::memory_order_relaxed);
  if (bound > known + known / 4 || bound < known - known / 4) {
    low_water_.store(std::min(bound, known));  // whoever asks meanwhile is not told more than holds
    BoundUnsent(socket_, bound);
    low_water_.store(bound);
  }
  size_t unsent = 0;
  if (bound >= kUsualUnsent || !HasUnsent(&unsent)) return SIZE_MAX;
  return unsent + kLeastGiven > bound ? 0 : bound - unsent;
}

// What the peer's kernel has not acknowledged (TCP), or its process has not read (Unix, where the kernel's own memory counts
// too), is still here.
uint64_t SocketChannel::bytes_delivered() const {
  const uint64_t sent = bytes_sent();
  if (is_device()) return sent;  // at once with the host
  int waiting = 0;
  if (closed_.load() || ::ioctl(socket_, SIOCOUTQ, &waiting) != 0 || waiting < 0) return 0;
  return sent - std::min(sent, static_cast<uint64_t>(waiting));
}

ChannelStatus SocketChannel::Write(OutgoingFrame* frame, std::span<const int> descriptors) {
  Control control;
  size_t unsent = 0;
  if (meter_.measures() && HasUnsent(&unsent) && unsent == 0) meter_.RanDry();
  while (!frame->done() || (tls_ != nullptr && tls_->unsent())) {
    const size_t allowance = Allowance();
    if (allowance == 0) {
      meter_.Full(LineMeter::Clock::now());
      if (!WaitUntilWritable()) return ChannelStatus::kClosed;
      continue;
    }
    std::array<iovec, kVectors> vectors;
    msghdr header{};
    header.msg_iov = vectors.data();
    header.msg_iovlen = CutVectors(vectors, frame->Gather(vectors), allowance);
    Attach(descriptors, &control, &header);
    const ssize_t count = tls_ != nullptr ? tls_->Send(std::span(vectors).first(header.msg_iovlen))
                          : is_device()   ? ::writev(socket_, vectors.data(), static_cast<int>(header.msg_iovlen))
                                          : ::sendmsg(socket_, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0) {
      if (count > 0) descriptors = {};  // they went with the first byte
      frame->Advance(static_cast<size_t>(count));
      sent_.fetch_add(static_cast<uint64_t>(count), std::memory_order_relaxed);
      if (bounds_unsent_) meter_.Sent(static_cast<size_t>(count));
      if (tls_ != nullptr && tls_->unsent() && !WaitUntilWritable()) return ChannelStatus::kClosed;
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      if (bounds_unsent_) meter_.Full(LineMeter::Clock::now());
      if (!WaitUntilWritable()) return ChannelStatus::kClosed;
    } else if (errno == ETOOMANYREFS) {
      ::poll(nullptr, 0, 1);  // the peer has too many of ours in flight: until it takes some
    } else if (errno != EINTR) {
      const int error = errno;
      if (!closed_.load()) failure_.Set("the connection broke while sending: " + Reason(error));
      return ChannelStatus::kClosed;
    }
    if (closed_.load() && !frame->done()) return ChannelStatus::kClosed;
  }
  return ChannelStatus::kOk;
}

bool SocketChannel::WaitUntilWritable() {
  pollfd entry{socket_, POLLOUT | POLLRDHUP, 0};
  int ready;
  while ((ready = ::poll(&entry, 1, is_device() ? kLookMilliseconds : -1)) <= 0) {
    if (closed_.load()) return false;
    if (ready == 0 || errno == EINTR) continue;
    failure_.Set("cannot wait for the connection: " + Reason(errno));
    return false;
  }
  // A peer that has ended reads no more, though its kernel may still take bytes.
  if ((entry.revents & (POLLRDHUP | POLLHUP)) != 0) {
    if (!closed_.load() && resumption_ == nullptr) failure_.Set("the peer closed the connection");
    return false;
  }
  return true;
}

bool SocketChannel::PeerEnded() {
  if (peer_ended_.load()) return true;
  if (closed_.load()) return false;
  if (resumption_ != nullptr) {
    resumption_->Tick();
    return resumption_->over();
  }
  pollfd entry{socket_, POLLRDHUP, 0};
  return ::poll(&entry, 1, 0) == 1 && (entry.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

ChannelStatus SocketChannel::Receive(Message* message, std::chrono::milliseconds timeout) {
  try {
    const Deadline deadline(timeout);
    return ReceiveNext(message, deadline, timeout.count() != 0);
  } catch (const std::exception& exception) {  // std::bad_alloc: the place in the stream is lost
    failure_.Set(std::string("cannot receive: ") + exception.what());
    Close();
    return ChannelStatus::kClosed;
  }
}

ChannelStatus SocketChannel::ReceiveNext(Message* message, const Deadline& deadline, bool may_wait) {
  for (bool woken = false;;) {
    if (closed_.load()) return ChannelStatus::kClosed;
    if (TakeInterrupt()) return ChannelStatus::kTimeout;
    const FrameStatus status = reader_.Next(message);
    received_saved_.store(reader_.bytes_saved(), std::memory_order_relaxed);
    switch (status) {
      case FrameStatus::kWake:
        woken = true;
        continue;
      case FrameStatus::kMessage:
        if (message->kind == MessageKind::kReceived) {
          if (resumption_ != nullptr && resumption_->Confirmed(message->sequence)) continue;
          failure_.Set("the peer confirms what it cannot have");
          return ChannelStatus::kMalformed;
        }
        if (HandOverDescriptors(message)) return ChannelStatus::kOk;
        unannounced_ = true;
        return UnannouncedDescriptors();
      case FrameStatus::kMalformed:
        failure_.Set(reader_.error());
        return ChannelStatus::kMalformed;
      case FrameStatus::kNeedMore:
        break;
    }
    if (resumption_ != nullptr) TendLine(true);
    if (peer_ended_.load()) return ChannelStatus::kClosed;
    if (woken) return ChannelStatus::kTimeout;
    if (may_wait && drained_) {
      const Wait wait = WaitUntilReadable(deadline);
      if (wait == Wait::kTimeout) return ChannelStatus::kTimeout;
      if (wait == Wait::kAgain) continue;
    }
    if (!Read() && !may_wait) return ChannelStatus::kTimeout;
    if (unannounced_) return UnannouncedDescriptors();
  }
}

bool SocketChannel::TakeInterrupt() {
  if (!interrupted_.load(std::memory_order_relaxed) || !interrupted_.exchange(false)) return false;
  uint64_t count;
  [[maybe_unused]] const ssize_t taken = ::read(wake_, &count, sizeof(count));
  return true;
}

SocketChannel::Wait SocketChannel::WaitUntilReadable(const Deadline& deadline) {
  std::array<pollfd, 2> entries = {{{socket_, POLLIN, 0}, {wake_, POLLIN, 0}}};
  int time = deadline.PollMilliseconds();
  if (resumption_ != nullptr) PrepareToWait(&entries[0], &time);
  const int ready = ::poll(entries.data(), entries.size(), time);
  if (ready == 0) return deadline.passed() ? Wait::kTimeout : Wait::kAgain;
  if (ready < 0) return Wait::kAgain;  // EINTR
  if (entries[1].revents != 0) {
    if (interrupted_.load()) return Wait::kAgain;
    // Left over from an interrupt that was taken before its write came through.
    uint64_t count;
    [[maybe_unused]] const ssize_t taken = ::read(wake_, &count, sizeof(count));
  }
  return entries[0].revents != 0 ? Wait::kReady : Wait::kAgain;
}

void SocketChannel::TakeArrival(const msghdr& header) {
  Arrival arrival;
  arrival.truncated = (header.msg_flags & MSG_CTRUNC) != 0;
  auto* walked = const_cast<msghdr*>(&header);
  for (cmsghdr* each = header.msg_controllen == 0 ? nullptr : CMSG_FIRSTHDR(walked); each != nullptr;
       each = CMSG_NXTHDR(walked, each)) {
    if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (each->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(each) + i * sizeof(fd), sizeof(fd));
      arrival.descriptors.emplace_back(fd);
    }
  }
  if (!arrival.truncated && arrival.descriptors.empty()) return;
  if (arrivals_.size() < kMaxArrivals) {
    arrivals_.push_back(std::move(arrival));
  } else {
    unannounced_ = true;
  }
}

ChannelStatus SocketChannel::UnannouncedDescriptors() {
  failure_.Set("file descriptors are not what the messages announce");
  return ChannelStatus::kMalformed;
}

bool SocketChannel::HandOverDescriptors(Message* message) {
  message->descriptors.clear();
  const size_t announced = message->announced_descriptors;
  if (announced == 0) return true;
  if (arrivals_.empty()) return true;  // lost on the way, by a relay that passes bytes alone
  Arrival arrival = std::move(arrivals_.front());
  arrivals_.pop_front();
  if (arrival.descriptors.size() == announced) message->descriptors = std::move(arrival.descriptors);
  return arrival.truncated || !message->descriptors.empty();
}

bool SocketChannel::Read() {
  std::array<iovec, 2> vectors;
  msghdr header{};
  header.msg_iov = vectors.data();
  header.msg_iovlen = reader_.Space(vectors);
  size_t asked = 0;
  for (size_t i = 0; i < header.msg_iovlen; ++i) asked += vectors[i].iov_len;
  Control control;
  if (carries_descriptors_) {
    header.msg_control = control.bytes.data();
    header.msg_controllen = control.bytes.size();
  }
  uint64_t connection = 0;
  std::string protest;
  const ssize_t count = ReadInto(&header, &connection, &protest);
  const int error = errno;
  if (count >= 0) TakeArrival(header);
  if (count > 0) {
    reader_.Filled(static_cast<size_t>(count));
    received_.fetch_add(static_cast<uint64_t>(count), std::memory_order_relaxed);
    // A read ends where descriptors are: there may be more behind them.
    drained_ = static_cast<size_t>(count) < asked && header.msg_controllen == 0;
    return true;
  }
  drained_ = true;
  if (count < 0 && error == EINTR) return true;
  if (count < 0 && (error == EAGAIN || error == EWOULDBLOCK)) return false;
  std::string why = count < 0              ? "the connection broke: " + (protest.empty() ? Reason(error) : protest)
                    : reader_.in_message() ? "the connection ended in the middle of a message"
                                           : "the peer closed the connection";
  if (resumption_ != nullptr && !closed_.load() && AwaitAnother(connection, count == 0, why)) return true;
  peer_ended_.store(true);
  if (!closed_.load()) (protest.empty() ? failure_ : protest_).Set(std::move(why));
  return true;
}

// One system call. Of a connection that may be resumed, which one it was.
ssize_t SocketChannel::ReadInto(msghdr* header, uint64_t* connection, std::string* protest) {
  const auto read = [&] {
    if (tls_ == nullptr) {
      return is_device() ? ::readv(socket_, header->msg_iov, static_cast<int>(header->msg_iovlen))
                         : ::recvmsg(socket_, header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    }
    const ssize_t count = tls_->Receive(std::span(header->msg_iov, header->msg_iovlen));
    if (count < 0 && errno == EPROTO) {
      *protest = tls_->error();
      errno = EPROTO;
    }
    return count;
  };
  if (resumption_ == nullptr) return read();
  const std::shared_lock line(resumption_->line());
  *connection = resumption_->connection();
  if (!resumption_->up()) {
    errno = EAGAIN;
    return -1;
  }
  const ssize_t count = read();
  if (count <= 0) return count;
  resumption_->Received(static_cast<size_t>(count));
  if (resumption_->owes_confirmation()) owes_.store(true);
  return count;
}

}  // namespace vesper::transport
