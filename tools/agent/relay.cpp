#include "tools/agent/relay.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <utility>

namespace vesper::agent {
namespace {

// The host has noticed the end by then, whatever it was at; so have those who map the files.
constexpr std::chrono::seconds kEnd{20};

bool WriteAll(int file, std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(file, bytes.data(), bytes.size());
    if (count > 0) {
      bytes = bytes.subspan(static_cast<size_t>(count));
    } else if (count < 0 && errno == EAGAIN) {
      pollfd entry{file, POLLOUT, 0};
      ::poll(&entry, 1, -1);
      if ((entry.revents & (POLLHUP | POLLERR)) != 0) return false;
    } else if (count == 0 || errno != EINTR) {
      return false;
    }
  }
  return true;
}

template <typename T>
bool Read(T* value, const uint8_t* body, size_t bytes) {
  if (bytes != sizeof(*value)) return false;
  std::memcpy(value, body, sizeof(*value));
  return true;
}

}  // namespace

void Relay::Run() {
  const auto* const greeting = reinterpret_cast<const uint8_t*>(AgentFrame::kGreeting.data());
  bool lives = WriteAll(port_.get(), {greeting, AgentFrame::kGreeting.size()});
  while (lives) {
    std::array<pollfd, 2> entries{pollfd{port_.get(), POLLIN, 0}, pollfd{driver_.get(), POLLIN, 0}};
    if (::poll(entries.data(), entries.size(), -1) < 0 && errno != EINTR) return;
    if (entries[0].revents != 0) lives = HearHost();
    if (lives && entries[1].revents != 0) lives = Hear();
  }
  driver_ = Descriptor();
  AwaitEnd();
}

// What the host uses is given to nobody else before.
void Relay::AwaitEnd() {
  if (!SendFrame(AgentFrame::kEnd, {})) return;
  const auto end = std::chrono::steady_clock::now() + kEnd;
  std::array<uint8_t, 4096> ignored;
  while (std::chrono::steady_clock::now() < end) {
    pollfd entry{port_.get(), POLLIN, 0};
    ::poll(&entry, 1, 100);
    const ssize_t count = ::read(port_.get(), ignored.data(), ignored.size());
    if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) return;
  }
}

bool Relay::SendFrame(AgentFrame::Kind kind, std::span<const uint8_t> body) {
  const AgentFrame frame{kind, static_cast<uint32_t>(body.size())};
  std::vector<uint8_t> all(sizeof(frame) + body.size());
  std::memcpy(all.data(), &frame, sizeof(frame));
  if (!body.empty()) std::memcpy(all.data() + sizeof(frame), body.data(), body.size());
  return WriteAll(port_.get(), all);
}

bool Relay::Hear() {
  std::vector<uint8_t> bytes(AgentFrame::kMost);
  const ssize_t count = ::recv(driver_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  return count > 0 && SendFrame(AgentFrame::kBytes, {bytes.data(), static_cast<size_t>(count)});
}

bool Relay::HearHost() {
  const size_t before = buffer_.size();
  buffer_.resize(before + AgentFrame::kMost);
  const ssize_t count = ::read(port_.get(), buffer_.data() + before, AgentFrame::kMost);
  buffer_.resize(before + (count > 0 ? static_cast<size_t>(count) : 0));
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  return count > 0 && TakeFrames();
}

bool Relay::TakeFrames() {
  size_t at = 0;
  bool lives = true;
  while (lives && buffer_.size() - at >= sizeof(AgentFrame)) {
    AgentFrame frame;
    std::memcpy(&frame, buffer_.data() + at, sizeof(frame));
    if (frame.bytes > AgentFrame::kMost) return false;
    if (buffer_.size() - at - sizeof(frame) < frame.bytes) break;
    lives = Take(frame, buffer_.data() + at + sizeof(frame));
    at += sizeof(frame) + frame.bytes;
  }
  buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<ptrdiff_t>(at));
  return lives;
}

bool Relay::Take(AgentFrame frame, const uint8_t* body) {
  AgentFrame::Make asked;
  uint64_t number = 0;
  switch (frame.kind) {
    case AgentFrame::kNothing:
      return true;
    case AgentFrame::kBytes:
      return WriteAll(driver_.get(), {body, frame.bytes});
    case AgentFrame::kMake:
      return Read(&asked, body, frame.bytes) && MakeFile(asked);
    case AgentFrame::kPass: {
      if (!Read(&number, body, frame.bytes)) return false;
      const auto found = made_.find(number);
      return found != made_.end() && Pass(found->second.get());
    }
    case AgentFrame::kDrop:
      if (!Read(&number, body, frame.bytes)) return false;
      made_.erase(number);
      return true;
    case AgentFrame::kPassEvent: {
      if (!Read(&number, body, frame.bytes)) return false;
      Descriptor event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
      if (!event.valid() || !Pass(event.get())) return false;
      events_.emplace(number, std::move(event));
      return true;
    }
    case AgentFrame::kSignal: {
      if (!Read(&number, body, frame.bytes)) return false;
      const auto found = events_.find(number);
      if (found == events_.end()) return true;
      ::eventfd_write(found->second.get(), 1);
      events_.erase(found);
      return true;
    }
    default:
      return false;
  }
}

bool Relay::MakeFile(const AgentFrame::Make& asked) {
  std::string error;
  DaxFile made = files_->Make(asked, &error);
  if (!made.file.valid()) std::fprintf(stderr, "vesper-agent: %s\n", error.c_str());
  const size_t bytes = made.places.size() * sizeof(AgentFrame::Place);
  std::vector<uint8_t> body(sizeof(asked.number) + bytes);
  std::memcpy(body.data(), &asked.number, sizeof(asked.number));
  if (bytes != 0) std::memcpy(body.data() + sizeof(asked.number), made.places.data(), bytes);
  if (made.file.valid()) made_.emplace(asked.number, std::move(made.file));
  return SendFrame(AgentFrame::kMade, body);
}

bool Relay::Pass(int file) {
  uint8_t byte = 0;
  iovec part{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  cmsghdr* const first = CMSG_FIRSTHDR(&header);
  first->cmsg_level = SOL_SOCKET;
  first->cmsg_type = SCM_RIGHTS;
  first->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(first), &file, sizeof(file));
  ssize_t count;
  do {
    count = ::sendmsg(driver_.get(), &header, MSG_NOSIGNAL);
  } while (count < 0 && errno == EINTR);
  return count == 1;
}

}  // namespace vesper::agent
