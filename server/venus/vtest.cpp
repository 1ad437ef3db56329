#include "server/venus/vtest.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "server/agent/agent_port.h"
#include "server/base/limits.h"

namespace vesper::venus {
namespace {

namespace limits = server::limits;

constexpr size_t kHeader = 2 * sizeof(uint32_t);
constexpr size_t kPiece = size_t{64} << 10;
constexpr uint8_t kByte[] = {0};

uint32_t WordAt(const uint8_t* at) {
  uint32_t word;
  std::memcpy(&word, at, sizeof(word));
  return word;
}

}  // namespace

uint32_t VtestMessage::word(size_t index) const {
  return index < body.size() / sizeof(uint32_t) ? WordAt(body.data() + index * sizeof(uint32_t)) : 0;
}

VtestSocket::VtestSocket(int fd, server::AgentPort* agent) : fd_(fd), agent_(agent) {
  fcntl(fd_, F_SETFL, fcntl(fd_, F_GETFL) | O_NONBLOCK);
}

VtestSocket::~VtestSocket() { close(fd_); }

// False when nothing came.
bool VtestSocket::Fill() {
  if (at_ != 0) {
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<ptrdiff_t>(at_));
    at_ = 0;
  }
  const size_t before = buffer_.size();
  buffer_.resize(before + kPiece);
  ssize_t count;
  do {
    count = read(fd_, buffer_.data() + before, kPiece);
  } while (count < 0 && errno == EINTR);
  buffer_.resize(before + (count > 0 ? static_cast<size_t>(count) : 0));
  if (count == 0 || (count < 0 && errno != EAGAIN)) ended_ = true;
  if (count > 0) received_ += static_cast<uint64_t>(count);
  return count > 0;
}

bool VtestSocket::Next(VtestMessage* message) {
  while (!ended_ && malformed_.empty()) {
    const size_t there = buffer_.size() - at_;
    if (there >= kHeader) {
      const uint32_t length = WordAt(buffer_.data() + at_);
      message->command = static_cast<Vtest>(WordAt(buffer_.data() + at_ + sizeof(uint32_t)));
      // The length is in words, but for a name in bytes.
      const size_t size = message->command == Vtest::kCreateRenderer ? length : size_t{length} * sizeof(uint32_t);
      if (size > limits::kVenusMessageBytes) {
        malformed_ = fmt::format("a message of {} bytes on the socket", size);
        return false;
      }
      if (there - kHeader >= size) {
        message->body = {buffer_.data() + at_ + kHeader, size};
        at_ += kHeader + size;
        return true;
      }
    }
    if (!Fill()) return false;
  }
  return false;
}

bool VtestSocket::Answer(Vtest command, std::span<const uint32_t> words) {
  std::vector<uint32_t> all{static_cast<uint32_t>(words.size()), static_cast<uint32_t>(command)};
  all.insert(all.end(), words.begin(), words.end());
  return Send({reinterpret_cast<const uint8_t*>(all.data()), all.size() * sizeof(uint32_t)}, -1);
}

bool VtestSocket::SendFile(const MemoryName& memory) {
  if (agent_ == nullptr) return Send(kByte, memory.file.get());
  if (!agent_->Pass(memory.place.offset)) ended_ = true;
  return !ended_;
}

bool VtestSocket::SendEvent(Descriptor event) {
  if (agent_ == nullptr) return Send(kByte, event.get());
  if (!agent_->PassEvent(std::move(event))) ended_ = true;
  return !ended_;
}

bool VtestSocket::Send(std::span<const uint8_t> bytes, int file) {
  if (agent_ != nullptr) {
    if (!agent_->Send(bytes)) ended_ = true;
    sent_ += bytes.size();
    return !ended_;
  }
  const auto end = std::chrono::steady_clock::now() + limits::kVenusAnswer;
  while (!bytes.empty()) {
    iovec part{const_cast<uint8_t*>(bytes.data()), bytes.size()};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    if (file >= 0) {
      header.msg_control = control;
      header.msg_controllen = sizeof(control);
      cmsghdr* first = CMSG_FIRSTHDR(&header);
      first->cmsg_level = SOL_SOCKET;
      first->cmsg_type = SCM_RIGHTS;
      first->cmsg_len = CMSG_LEN(sizeof(int));
      std::memcpy(CMSG_DATA(first), &file, sizeof(int));
    }
    const ssize_t count = sendmsg(fd_, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0) {
      bytes = bytes.subspan(static_cast<size_t>(count));
      sent_ += static_cast<uint64_t>(count);
      file = -1;
      continue;
    }
    if (errno == EINTR) continue;
    pollfd entry{fd_, POLLOUT, 0};
    if (errno != EAGAIN || std::chrono::steady_clock::now() > end || poll(&entry, 1, 100) < 0) {
      ended_ = true;
      return false;
    }
  }
  return true;
}

void VtestSocket::Shutdown() const {
  if (agent_ != nullptr) return agent_->Close();
  shutdown(fd_, SHUT_RDWR);
}

}  // namespace vesper::venus
