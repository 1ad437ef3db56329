#include "tools/bench/bare_socket.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "tools/bench/proxy.h"
#include "tools/bench/tcp.h"

namespace vesper::tools::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMost = size_t{64} << 20, kLeast = size_t{256} << 10;  // bytes of a try
constexpr double kTrySeconds = 0.5;                                     // where the line is slower than that
constexpr int kTries = 3, kTrips = 200, kSlowTrips = 10, kConnectMilliseconds = 10'000;

bool Pass(int fd, const char* bytes, size_t size) {
  while (size != 0) {
    const ssize_t count = send(fd, bytes, size, MSG_NOSIGNAL);
    if (count <= 0) return false;
    bytes += count;
    size -= static_cast<size_t>(count);
  }
  return true;
}

// False at the end.
bool Take(int fd, char* bytes, size_t size) {
  return size == 0 || recv(fd, bytes, size, MSG_WAITALL) == static_cast<ssize_t>(size);
}

// A connection, at whose other end a thread answers each `size` bytes with one.
class Connection {
 public:
  Connection(const Line& line, size_t size) : bytes_(size), taken_(size) {
    std::string error;
    listener_ = Listener::Open({Address::Kind::kTcp, {}, "127.0.0.1", 0}, &error);
    if (listener_ == nullptr) throw std::runtime_error(error);
    Address to = listener_->address();
    if (line.is_proxied()) {
      proxy_.emplace(to, line);
      to = *ParseAddress(proxy_->address(), &error);
    }
    near_ = DialTcp(to, 0);
    pollfd waiting = {listener_->fd(), POLLIN, 0};
    if (near_.valid() && poll(&waiting, 1, kConnectMilliseconds) == 1) far_ = Descriptor(listener_->Accept());
    if (!far_.valid()) throw std::runtime_error("no connection to ourselves on this machine");
    PrepareTcp(far_.get(), 0);
    fcntl(far_.get(), F_SETFL, fcntl(far_.get(), F_GETFL) & ~O_NONBLOCK);
    thread_ = std::thread([this] {
      while (Take(far_.get(), taken_.data(), taken_.size()) && Pass(far_.get(), taken_.data(), 1)) continue;
    });
  }
  ~Connection() {
    shutdown(near_.get(), SHUT_RDWR);
    shutdown(far_.get(), SHUT_RDWR);
    thread_.join();
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Seconds until all bytes have been answered.
  double Try() {
    const auto begin = Clock::now();
    char answer = 0;
    if (!Pass(near_.get(), bytes_.data(), bytes_.size()) || !Take(near_.get(), &answer, 1)) {
      throw std::runtime_error("a bare socket does not carry bytes");
    }
    return std::chrono::duration<double>(Clock::now() - begin).count();
  }
  Summary Times(int tries) {
    Try();
    std::vector<double> seconds;
    for (int i = 0; i < tries; ++i) seconds.push_back(Try());
    return Summarize(seconds);
  }

 private:
  std::vector<char> bytes_, taken_;
  std::unique_ptr<Listener> listener_;
  std::optional<Proxy> proxy_;
  Descriptor near_, far_;
  std::thread thread_;
};

}  // namespace

BareSocket MeasureBareSocket(const Line& line, bool quick) {
  const double carried = line.rate_mbit * 1e6 / 8 * kTrySeconds;
  const size_t size = quick ? kLeast : carried == 0 ? kMost : std::clamp(static_cast<size_t>(carried), kLeast, kMost);
  const Summary trip = Connection(line, 1).Times(line.delay_ms == 0 && !quick ? kTrips : kSlowTrips);
  const Summary all = Connection(line, size).Times(quick ? 1 : kTries);
  // Neither the way of the first byte nor the answer's is part of the rate.
  const double bytes_seconds = std::max(all.median - (line.delay_ms != 0 ? trip.least : 0), 1e-9);
  return {static_cast<double>(size) / 1e6 / bytes_seconds, trip.median * 1e6};
}

}  // namespace vesper::tools::bench
