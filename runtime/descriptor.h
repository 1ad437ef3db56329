// A file descriptor and who closes it. Channels hand such on; see Channel::SendWithDescriptors().
#pragma once

#include <unistd.h>

#include <cstdint>
#include <utility>

namespace vesper {

// Owns at most one descriptor. Not thread-safe.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) Reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~Descriptor() { Reset(-1); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  void Reset(int fd) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }
  int fd_ = -1;
};

// A part of the area that a guest and its host share (runtime/area.h).
struct MemoryPlace {
  uint64_t offset = 0;
  uint64_t size = 0;  // 0: there is none
};

// How one end of a channel names memory to the other: as a file, or as a place in the area. Who receives the latter gets the
// area's file along with it, and where the place is in that.
struct MemoryName {
  Descriptor file;
  MemoryPlace place;
  bool valid() const { return file.valid() || place.size != 0; }
};

}  // namespace vesper
