#include "tools/bench/proxy.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <deque>
#include <list>
#include <optional>
#include <stdexcept>
#include <vector>

#include "tools/bench/report.h"
#include "tools/bench/tcp.h"

namespace vesper::tools::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr size_t kMaxPiece = size_t{64} << 10;           // read at once
constexpr size_t kMinPiece = 1500;                       // a packet
constexpr size_t kMaxHeld = size_t{64} << 20;            // of one direction, whatever delay and rate are
constexpr auto kBurst = std::chrono::microseconds(500);  // how far ahead of the rate bytes are taken
constexpr auto kLate = std::chrono::milliseconds(5);

Clock::duration ToDuration(double seconds) { return std::chrono::duration_cast<Clock::duration>(Seconds(seconds)); }

struct Pace {
  explicit Pace(const Line& line)
      : delay(ToDuration(line.delay_ms / 2e3)),
        rate(line.rate_mbit * 1e6 / 8),
        piece(rate == 0 ? kMaxPiece
                        : std::clamp(static_cast<size_t>(rate * Seconds(kBurst).count()), kMinPiece, kMaxPiece)) {}
  Clock::duration Takes(size_t bytes) const {
    return rate == 0 ? Clock::duration(0) : ToDuration(static_cast<double>(bytes) / rate);
  }
  const Clock::duration delay;  // one way
  const double rate;            // bytes a second; 0: no limit
  const size_t piece;
};

// The earlier of two moments, of which the first may be none.
void Sooner(std::optional<Clock::time_point>* moment, Clock::time_point other) {
  if (!*moment || other < **moment) *moment = other;
}

// One direction of a connection.
class Way {
 public:
  Way(int from, int to, const Pace& pace) : from_(from), to_(to), pace_(pace) {}

  bool ended() const { return ended_; }
  bool broken() const { return broken_; }
  bool WantsToRead(Clock::time_point now) const {
    return !heard_all_ && !ended_ && held_ < kMaxHeld && busy_until_ <= now + kBurst;
  }
  bool WantsToWrite(Clock::time_point now) const { return !ended_ && !pieces_.empty() && pieces_.front().due <= now; }
  // When something will be to be done that no descriptor tells.
  void NextMoment(Clock::time_point now, std::optional<Clock::time_point>* moment) const {
    if (ended_) return;
    if (!pieces_.empty() && pieces_.front().due > now) Sooner(moment, pieces_.front().due);
    if (!heard_all_ && held_ < kMaxHeld && !WantsToRead(now)) Sooner(moment, busy_until_ - kBurst);
  }

  void Read(Clock::time_point now) {
    std::vector<char> bytes(pace_.piece);
    const ssize_t count = recv(from_, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
      was_waited_for_ = false;
      return;
    }
    bytes.resize(count < 0 ? 0 : static_cast<size_t>(count));
    heard_all_ = count <= 0;
    // What may have waited for the line does not pay for this thread's having been late.
    busy_until_ = std::max(busy_until_, was_waited_for_ ? now - kLate : now) + pace_.Takes(bytes.size());
    was_waited_for_ = busy_until_ > now + kBurst;
    held_ += bytes.size();
    pieces_.push_back({std::max(busy_until_, now) + pace_.delay, std::move(bytes)});  // an empty one is the end
  }
  // False when there is nothing more to be done now.
  bool Write() {
    const Piece& piece = pieces_.front();
    if (piece.bytes.empty()) {
      shutdown(to_, SHUT_WR);
      ended_ = true;
      return false;
    }
    const ssize_t count =
        send(to_, piece.bytes.data() + sent_, piece.bytes.size() - sent_, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count < 0) {
      broken_ = errno != EAGAIN && errno != EINTR;
      return false;
    }
    sent_ += static_cast<size_t>(count);
    if (sent_ < piece.bytes.size()) return false;
    held_ -= piece.bytes.size();
    sent_ = 0;
    pieces_.pop_front();
    return true;
  }

 private:
  struct Piece {
    Clock::time_point due;
    std::vector<char> bytes;
  };
  const int from_, to_;
  const Pace& pace_;
  std::deque<Piece> pieces_;
  size_t held_ = 0, sent_ = 0;
  Clock::time_point busy_until_ = Clock::now();
  bool heard_all_ = false, ended_ = false, broken_ = false, was_waited_for_ = false;
};

struct Connection {
  Connection(Descriptor a, Descriptor b, const Pace& pace)
      : client(std::move(a)),
        server(std::move(b)),
        there(client.get(), server.get(), pace),
        back(server.get(), client.get(), pace) {}
  // When one end does not take what comes, the other shall hear of it.
  bool has_ended() const { return (there.ended() && back.ended()) || there.broken() || back.broken(); }
  const Descriptor client, server;
  Way there, back;
};

// What waits in the kernel's buffers would count as sent although it still waits for the line.
int ReceiveBytes(const Pace& pace) {
  return pace.rate == 0 ? 0 : static_cast<int>(std::clamp(pace.rate * 2e-3, 16.0 * 1024, 4.0 * 1024 * 1024));
}

}  // namespace

class Proxy::Relay {
 public:
  Relay(Address server, const Line& line, int stop, std::atomic<size_t>* count)
      : server_(std::move(server)), pace_(line), stop_(stop), count_(*count) {
    std::string error;
    listener_ = Listener::Open({.kind = Address::Kind::kTcp, .path = {}, .host = "127.0.0.1", .port = 0}, &error);
    if (listener_ == nullptr) throw std::runtime_error(error);
    PrepareTcp(listener_->fd(), ReceiveBytes(pace_));  // its sockets are like it
  }

  // As the server is called, but for where it is.
  std::string Name() const {
    Address line = server_;
    line.host = listener_->address().host;
    line.port = listener_->address().port;
    return line.WithSecrets();
  }

  void Run() {
    prctl(PR_SET_TIMERSLACK, 1);  // ns
    while (Sleep()) {
      const auto now = Clock::now();
      for (auto each = connections_.begin(); each != connections_.end();) {
        Serve(*each, now);
        each = each->has_ended() ? connections_.erase(each) : std::next(each);
      }
      Accept();
      count_ = connections_.size();
    }
    connections_.clear();
    count_ = 0;
  }

 private:
  // Until there is something to do; false when it is to end.
  bool Sleep() {
    entries_ = {{stop_, POLLIN, 0}, {listener_->fd(), POLLIN, 0}};
    const auto now = Clock::now();
    std::optional<Clock::time_point> moment;
    for (Connection& each : connections_) {
      const auto events = [now](const Way& in, const Way& out) {
        return static_cast<short>((in.WantsToRead(now) ? POLLIN : 0) | (out.WantsToWrite(now) ? POLLOUT : 0));
      };
      // A negative descriptor is not looked at: that one has hung up would be told again and again.
      const auto add = [this](int fd, short wanted) { entries_.push_back({wanted == 0 ? -1 : fd, wanted, 0}); };
      add(each.client.get(), events(each.there, each.back));
      add(each.server.get(), events(each.back, each.there));
      each.there.NextMoment(now, &moment);
      each.back.NextMoment(now, &moment);
    }
    timespec left = {};
    if (moment) {
      const auto wait = std::max(*moment - now, Clock::duration(0));
      left.tv_sec = std::chrono::duration_cast<std::chrono::seconds>(wait).count();
      left.tv_nsec = (wait % std::chrono::seconds(1)).count();
    }
    ppoll(entries_.data(), entries_.size(), moment ? &left : nullptr, nullptr);
    return entries_[0].revents == 0;
  }

  static void Serve(Connection& each, Clock::time_point now) {
    for (Way* way : {&each.there, &each.back}) {
      if (way->WantsToRead(now)) way->Read(now);
      while (way->WantsToWrite(now) && way->Write()) {
      }
    }
  }

  void Accept() {
    Descriptor client(listener_->Accept());
    if (!client.valid()) return;
    Descriptor server = DialTcp(server_, ReceiveBytes(pace_));
    if (!server.valid()) return;
    PrepareTcp(client.get(), 0);
    connections_.emplace_back(std::move(client), std::move(server), pace_);
  }

  const Address server_;
  const Pace pace_;
  const int stop_;
  std::atomic<size_t>& count_;
  std::unique_ptr<Listener> listener_;
  std::list<Connection> connections_;
  std::vector<pollfd> entries_;
};

Proxy::Proxy(const Address& server, const Line& line) : stop_(eventfd(0, EFD_CLOEXEC)) {
  if (server.kind == Address::Kind::kUnix)
    throw std::runtime_error("a line with a delay or a rate is TCP: no Unix socket");
  relay_ = std::make_unique<Relay>(server, line, stop_, &connections_);
  address_ = relay_->Name();
  thread_ = std::thread([this] { relay_->Run(); });
}

Proxy::~Proxy() {
  eventfd_write(stop_, 1);
  thread_.join();
  close(stop_);
}

}  // namespace vesper::tools::bench
