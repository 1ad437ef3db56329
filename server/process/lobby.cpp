#include "server/process/lobby.h"

#include <fmt/core.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "runtime/handshake.h"
#include "server/base/limits.h"

namespace vesper::server {
namespace {

const std::string kSlowStart =
    "the server's workers take too long to start: its machine is too busy, or its driver hangs";
const std::string kTooMany = "too many clients wait for the server already";

}  // namespace

Lobby::Lobby(const Limits& limits) : limits_(limits), epoll_(epoll_create1(EPOLL_CLOEXEC)) {}

Lobby::~Lobby() {
  for (const Guests* guests : {&silent_, &queue_}) {
    for (const auto& [number, guest] : *guests) close(guest.socket);
  }
  for (const Waiting& waiting : resuming_) close(waiting.socket);
  if (epoll_ >= 0) close(epoll_);
}

void Lobby::Enter(int socket, const Admission& admission) {
  std::string origin = OriginOf(socket);
  MakeRoom(origin);
  const uint64_t number = ++numbers_;
  epoll_event event{};
  event.events = EPOLLIN | EPOLLRDHUP | EPOLLET;
  event.data.u64 = number;
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, socket, &event) != 0) {
    close(socket);
    return;
  }
  silent_[number] = {socket, admission, std::move(origin), Clock::now(), {}};
  Hear(number);  // most peers have said Hello by now, and an event would cost another round
}

void Lobby::EnterAdmitted(int socket, const Admission& admission) {
  if (queue_.size() >= limits_.queued) return TurnAway({socket, admission}, kTooMany);
  const uint64_t number = ++numbers_;
  epoll_event event{};
  event.events = EPOLLRDHUP | EPOLLET;
  event.data.u64 = number;
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, socket, &event) != 0) {
    close(socket);
    return;
  }
  queue_[number] = {socket, admission, {}, Clock::now(), Clock::now()};
}

void Lobby::TurnAway(Waiting waiting, const std::string& reason) {
  refusals_.Note(reason);
  TakeWhatIsThere(waiting.socket);
  if (!waiting.admission.venus) Tell(waiting.socket, &waiting.admission.secrets, MessageKind::kRefused, reason);
  shutdown(waiting.socket, SHUT_RDWR);
  close(waiting.socket);
}

size_t Lobby::queued_of(std::string_view name) const {
  const auto is_so = [name](const auto& entry) { return entry.second.admission.name() == name; };
  return static_cast<size_t>(std::count_if(queue_.begin(), queue_.end(), is_so));
}

void Lobby::MakeRoom(const std::string& origin) {
  const auto is_neighbour = [&](const auto& entry) { return entry.second.origin == origin; };
  const auto neighbours = std::count_if(silent_.begin(), silent_.end(), is_neighbour);
  if (static_cast<size_t>(neighbours) >= limits_.silent_of_one_origin) {
    End(&silent_, std::find_if(silent_.begin(), silent_.end(), is_neighbour));
  } else if (silent_.size() >= limits_.silent) {
    End(&silent_, silent_.begin());
  }
}

bool Lobby::Evict() {
  if (silent_.empty()) return false;
  End(&silent_, silent_.begin());
  return true;
}

void Lobby::Look() {
  std::array<epoll_event, limits::kEventsAtOnce> events;
  const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 0);
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<size_t>(i)];
    const uint64_t number = event.data.u64;
    if (silent_.contains(number)) {
      Hear(number);
    } else if (const auto found = queue_.find(number);
               found != queue_.end() && (event.events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
      End(&queue_, found);
    }
  }
}

// MSG_PEEK leaves descriptors that come with the bytes in the socket as well.
void Lobby::Hear(uint64_t number) {
  const auto guest = silent_.find(number);
  std::array<uint8_t, kMaxFirstHelloBytes> bytes;
  const ssize_t count = recv(guest->second.socket, bytes.data(), bytes.size(), MSG_PEEK | MSG_DONTWAIT);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count <= 0) return End(&silent_, guest);
  Hello hello;
  std::string error;
  switch (HearHello({bytes.data(), static_cast<size_t>(count)}, &hello, &error)) {
    case Heard::kPart:
      return;
    case Heard::kNonsense:
      return Refuse(&silent_, guest, error);
    case Heard::kHello:
      if (hello.program == kProbeProgram) {
        TakeWhatIsThere(guest->second.socket);
        Tell(guest->second.socket, &guest->second.admission.secrets, MessageKind::kRefused,
             draining_ ? kDraining : kReady);
        shutdown(guest->second.socket, SHUT_RDWR);
        return End(&silent_, guest);
      }
      if (hello.resume.session != 0 && guest->second.admission.guest == 0) {
        Admission admission = guest->second.admission;
        admission.resumes = hello.resume.session;
        epoll_ctl(epoll_, EPOLL_CTL_DEL, guest->second.socket, nullptr);
        resuming_.push_back({guest->second.socket, admission});
        silent_.erase(guest);
        return;
      }
      if (draining_) return Refuse(&silent_, guest, kDraining);
      if (queue_.size() < limits_.queued) {
        hello.program.copy(guest->second.admission.program.data(), guest->second.admission.program.size() - 1);
        guest->second.since = guest->second.told = Clock::now();
        queue_.insert(silent_.extract(guest));
        return;
      }
      return Refuse(&silent_, guest, kTooMany);
  }
}

void Lobby::End(Guests* guests, Guests::iterator guest) {
  close(guest->second.socket);
  guests->erase(guest);
}

void Lobby::Refuse(Guests* guests, Guests::iterator guest, const std::string& reason) {
  TurnAway({guest->second.socket, guest->second.admission}, reason);
  guests->erase(guest);
}

void Lobby::Tick(const std::string& full) {
  const auto now = Clock::now();
  for (auto guest = silent_.begin(); guest != silent_.end();) {
    const auto next = std::next(guest);
    if (now - guest->second.since >= limits_.hello) {
      Refuse(&silent_, guest, "no Hello came in time");
    }
    guest = next;
  }
  refusals_.Tick();
  const auto patience =
      full.empty() ? std::max<std::chrono::milliseconds>(limits_.wait, limits::kStartPatience) : limits_.wait;
  const std::string& reason = full.empty() ? kSlowStart : full;
  for (auto guest = queue_.begin(); guest != queue_.end();) {
    const auto next = std::next(guest);
    if (now - guest->second.since >= patience) {
      Refuse(&queue_, guest, reason);
    }
    guest = next;
  }
  TellPlaces();
}

void Lobby::TellPlaces() {
  const auto now = Clock::now();
  size_t place = 0;
  for (auto guest = queue_.begin(); guest != queue_.end();) {
    const auto next = std::next(guest);
    ++place;
    if (!guest->second.admission.venus && now - guest->second.since >= limits::kTellAfter &&
        now - guest->second.told >= limits::kTellAgain / 2) {
      guest->second.told = now;
      if (!Tell(guest->second.socket, &guest->second.admission.secrets, MessageKind::kWaiting,
                fmt::format("number {} in the queue", place))) {
        End(&queue_, guest);
      }
    }
    guest = next;
  }
}

std::optional<Lobby::Waiting> Lobby::NextResuming() {
  if (resuming_.empty()) return std::nullopt;
  const Waiting next = resuming_.back();
  resuming_.pop_back();
  return next;
}

std::optional<Lobby::Waiting> Lobby::Next() {
  if (queue_.empty()) return std::nullopt;
  const Waiting next{queue_.begin()->second.socket, queue_.begin()->second.admission};
  epoll_ctl(epoll_, EPOLL_CTL_DEL, next.socket, nullptr);
  queue_.erase(queue_.begin());
  return next;
}

void Lobby::PutBack(const Waiting& waiting) {
  // Number 0 is given to nobody else and comes first. The socket is not watched any more: should the peer go, its worker notices.
  queue_[0] = {waiting.socket, waiting.admission, {}, Clock::now(), Clock::now()};
}

void Lobby::Drain() {
  draining_ = true;
  RefuseAll(kDraining);
}

void Lobby::RefuseAll(const std::string& reason) {
  while (!queue_.empty()) Refuse(&queue_, queue_.begin(), reason);
}

}  // namespace vesper::server
