// A driver of the Venus protocol, for tests: a socket, memory and rings that it may do anything with.
#pragma once

#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <vector>

#include "generated/venus/mesa.h"
#include "server/venus/vtest.h"

namespace vesper::test {

using venus::Vtest;

inline constexpr uint32_t kBuffer = 4096;
inline constexpr uint64_t kRingSize = 192 + kBuffer + 64;
inline constexpr uint32_t kPresent = 1;

// Words that make a stream.
class Words {
 public:
  Words& U32(uint32_t value) {
    words_.push_back(value);
    return *this;
  }
  Words& U64(uint64_t value) { return U32(static_cast<uint32_t>(value)).U32(static_cast<uint32_t>(value >> 32)); }
  Words& Command(uint32_t number, uint32_t flags = 0) { return U32(number).U32(flags); }
  const std::vector<uint32_t>& all() const { return words_; }

 private:
  std::vector<uint32_t> words_;
};

struct Memory {
  explicit Memory(int fd, size_t its_size)
      : size(its_size), data(static_cast<uint8_t*>(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0))) {
    close(fd);
  }
  ~Memory() { munmap(data, size); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  std::atomic<uint32_t>& word(size_t offset) { return *reinterpret_cast<std::atomic<uint32_t>*>(data + offset); }

  uint32_t number = 0;
  size_t size;
  uint8_t* data;
};

class FakeDriver {
 public:
  // Owns its end of a pair of sockets; the other is the caller's.
  int Connect() {
    Disconnect();
    int ends[2] = {-1, -1};
    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends);
    socket_ = ends[0];
    return ends[1];
  }
  void Disconnect() {
    if (socket_ >= 0) close(socket_);
    socket_ = -1;
  }
  ~FakeDriver() { Disconnect(); }

  void Write(const void* bytes, size_t size) const {
    if (send(socket_, bytes, size, MSG_NOSIGNAL) != static_cast<ssize_t>(size)) return;  // it has been let go
  }
  void SayName() const {
    const char name[] = "a test";
    const uint32_t head[] = {sizeof(name), static_cast<uint32_t>(Vtest::kCreateRenderer)};
    Write(head, sizeof(head));
    Write(name, sizeof(name));
  }
  void Say(Vtest command, const std::vector<uint32_t>& words) const {
    std::vector<uint32_t> all{static_cast<uint32_t>(words.size()), static_cast<uint32_t>(command)};
    all.insert(all.end(), words.begin(), words.end());
    Write(all.data(), all.size() * 4);
  }
  std::vector<uint32_t> Hear() const {
    uint32_t head[2] = {};
    if (recv(socket_, head, sizeof(head), MSG_WAITALL) != static_cast<ssize_t>(sizeof(head))) return {};
    std::vector<uint32_t> words(head[0]);
    if (head[0] != 0) recv(socket_, words.data(), words.size() * 4, MSG_WAITALL);
    return words;
  }
  int HearFile() const {
    char byte;
    iovec part{&byte, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof(control);
    if (recvmsg(socket_, &header, MSG_CMSG_CLOEXEC) != 1) return -1;
    int file = -1;
    if (const cmsghdr* first = CMSG_FIRSTHDR(&header)) std::memcpy(&file, CMSG_DATA(first), sizeof(file));
    return file;
  }
  // Commands by the socket.
  void Submit(const Words& stream) const {
    std::vector<uint32_t> words{1, 0, 7, static_cast<uint32_t>(stream.all().size()), 0, 0, 0};
    words.insert(words.end(), stream.all().begin(), stream.all().end());
    Say(Vtest::kSubmit, words);
  }
  static Words RingOf(uint64_t key, uint32_t resource, uint64_t buffer_size = kBuffer, uint64_t tail = 64) {
    Words words;
    words.Command(venus::kCreateRingMESA).U64(key).U64(kPresent).U32(venus::RingCreateInfoMESA::kType).U64(0);
    words.U32(0).U32(resource).U64(0).U64(kRingSize).U64(1000000).U64(0).U64(tail).U64(128).U64(192);
    return words.U64(buffer_size).U64(192 + kBuffer).U64(4);
  }
  static void Put(Memory* ring, const Words& words) {
    const uint32_t tail = ring->word(64).load();
    for (size_t i = 0; i < words.all().size(); ++i) {
      std::memcpy(ring->data + 192 + (tail + 4 * i) % kBuffer, &words.all()[i], 4);
    }
    ring->word(64).store(tail + static_cast<uint32_t>(4 * words.all().size()));
  }

 private:
  int socket_ = -1;
};

}  // namespace vesper::test
