#include "client/tracking/foreign_tracker.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <new>
#include <vector>

#include "client/base/limits.h"
#include "runtime/descriptor.h"

namespace vesper::client {
namespace {

constexpr size_t kPage = limits::kBlockBytes;

bool IsRefused(ssize_t done) { return done < 0 && (errno == EPERM || errno == ENOSYS || errno == EACCES); }

// Copies by way of the kernel, which answers where the processor would fault. Returns how many bytes were copied, from the
// front. Sandboxes may forbid the calls that copy directly; a pipe then does.
class KernelCopy {
 public:
  size_t Read(const uint8_t* from, std::span<uint8_t> to) {
    const iovec remote{const_cast<uint8_t*>(from), to.size()};
    const iovec local{to.data(), to.size()};
    const ssize_t done = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
    if (!IsRefused(done)) return static_cast<size_t>(std::max<ssize_t>(done, 0));
    return ThroughPipe(from, to.data(), to.size());
  }
  size_t Write(std::span<const uint8_t> from, uint8_t* to) {
    const iovec local{const_cast<uint8_t*>(from.data()), from.size()};
    const iovec remote{to, from.size()};
    const ssize_t done = process_vm_writev(getpid(), &local, 1, &remote, 1, 0);
    if (!IsRefused(done)) return static_cast<size_t>(std::max<ssize_t>(done, 0));
    return ThroughPipe(from.data(), to, from.size());
  }

 private:
  size_t ThroughPipe(const uint8_t* from, uint8_t* to, size_t size) {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) return 0;
    const Descriptor out(ends[0]);
    const Descriptor in(ends[1]);
    size_t done = 0;
    while (done < size) {
      const ssize_t put = write(in.get(), from + done, std::min(size - done, kPage));
      if (put <= 0) break;
      const ssize_t taken = read(out.get(), to + done, static_cast<size_t>(put));
      if (taken > 0) done += static_cast<size_t>(taken);
      if (taken != put) break;
    }
    return done;
  }
};

class ForeignTracker final : public Tracker {
 public:
  ForeignTracker(uint8_t* data, size_t size) : Tracker(std::span(data, size)) {}

 protected:
  void CollectRange(uint64_t offset, uint64_t size, const Search& /*search*/, ChangeSink sink) override {
    const uint64_t end = offset + size;
    seen_.resize(limits::kForeignPieceBytes);
    while (offset < end) {
      const auto length = static_cast<size_t>(std::min<uint64_t>(end - offset, limits::kForeignPieceBytes));
      const size_t read = copy_.Read(shadow() + offset, std::span(seen_).first(length));
      for (size_t at = 0; at < read; at += kPage) {
        CompareBlock(offset + at, seen_.data() + at, std::min(kPage, read - at), sink);
      }
      // What follows is a page without access: go on behind it.
      offset = read == length ? offset + length : NextPage(offset + read);
    }
  }

  void Place(std::span<const wire::Run> runs) override {
    for (const wire::Run& run : runs) {
      wire::ForEachPiece(run, [this](uint64_t offset, std::span<const uint8_t> bytes) {
        std::memcpy(twin() + offset, bytes.data(), bytes.size());
        Write(offset, bytes);
      });
    }
  }

 private:
  // The offset at which the page behind the one at `offset` begins.
  uint64_t NextPage(uint64_t offset) const {
    const auto address = reinterpret_cast<uintptr_t>(shadow() + offset);
    return offset + kPage - address % kPage;
  }

  void Write(uint64_t offset, std::span<const uint8_t> bytes) {
    while (!bytes.empty()) {
      const size_t written = copy_.Write(bytes, shadow() + offset);
      if (written == bytes.size()) break;
      const uint64_t next = std::min(NextPage(offset + written), offset + bytes.size());
      bytes = bytes.subspan(static_cast<size_t>(next - offset));
      offset = next;
    }
  }

  KernelCopy copy_;
  std::vector<uint8_t> seen_;
};

}  // namespace

std::unique_ptr<Tracker> MakeForeignTracker(uint8_t* data, uint64_t size) noexcept {
  if (size == 0 || size > SIZE_MAX) return nullptr;
  std::unique_ptr<ForeignTracker> made(new (std::nothrow) ForeignTracker(data, static_cast<size_t>(size)));
  if (made == nullptr || !made->valid()) return nullptr;
  return made;
}

}  // namespace vesper::client
