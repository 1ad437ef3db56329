#include "server/process/peer_watch.h"

#include <linux/sockios.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "server/base/limits.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77  // Linux 6.5
#endif

namespace vesper::server {
namespace {

int PidfdOfPeer(int socket) {
  int pidfd = -1;
  socklen_t length = sizeof(pidfd);
  if (getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &length) == 0) return pidfd;
  ucred peer{};
  length = sizeof(peer);
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0 || peer.pid <= 0) return -1;
  return static_cast<int>(syscall(SYS_pidfd_open, peer.pid, 0));
}

}  // namespace

PeerWatch::PeerWatch(int socket, std::function<void()> gone)
    : pidfd_(PidfdOfPeer(socket)), stop_(eventfd(0, EFD_CLOEXEC)) {
  if (pidfd_ < 0 || stop_ < 0) return;
  thread_ = std::thread([this, gone = std::move(gone)] {
    pollfd entries[] = {{pidfd_, POLLIN, 0}, {stop_, POLLIN, 0}};
    while (poll(entries, 2, -1) < 0 && errno == EINTR) {
    }
    // What it sent before its end, usually a goodbye, is read first.
    if (entries[1].revents == 0 && poll(entries + 1, 1, limits::kPeerLastWords.count()) == 0) gone();
  });
}

PeerWatch::~PeerWatch() {
  if (thread_.joinable()) {
    eventfd_write(stop_, 1);
    thread_.join();
  }
  if (pidfd_ >= 0) close(pidfd_);
  if (stop_ >= 0) close(stop_);
}

PortWatch::PortWatch(int socket, Channel* channel, std::function<void()> gone)
    : socket_(socket), channel_(channel), stop_(eventfd(0, EFD_CLOEXEC)) {
  if (stop_ >= 0) thread_ = std::thread([this, gone = std::move(gone)] { Run(gone); });
}

void PortWatch::Run(const std::function<void()>& gone) {
  using Clock = std::chrono::steady_clock;
  uint64_t received = 0;
  int unread = 0;
  Clock::time_point changed = Clock::now(), nudged = changed;
  std::chrono::milliseconds interval = limits::kFirstNudge;
  pollfd entry{stop_, POLLIN, 0};
  while (poll(&entry, 1, limits::kPortLook.count()) <= 0) {
    int waiting = 0;
    if (ioctl(socket_, SIOCOUTQ, &waiting) != 0) return;  // it is no port
    const auto now = Clock::now();
    const uint64_t heard = channel_->bytes_received();
    if (heard != received) interval = limits::kFirstNudge;
    if (heard != received || waiting != unread || waiting == 0) changed = now;
    received = heard;
    unread = waiting;
    if (waiting == 0 && now - nudged >= interval) {
      channel_->Nudge();
      nudged = now;
      interval = std::min(2 * interval, limits::kLastNudge);
    }
    // A whole message may wait for a process that was stopped.
    const auto patience = waiting <= limits::kFewUnread ? limits::kPortPatience : limits::kBusyPortPatience;
    if (now - changed >= patience) return gone();
  }
}

PortWatch::~PortWatch() {
  if (thread_.joinable()) {
    eventfd_write(stop_, 1);
    thread_.join();
  }
  if (stop_ >= 0) close(stop_);
}

}  // namespace vesper::server
