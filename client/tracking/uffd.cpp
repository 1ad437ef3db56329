#include "client/tracking/uffd.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <new>

#include "client/base/immortal.h"
#include "client/base/limits.h"
#include "client/tracking/pages.h"
#include "runtime/mutex.h"

namespace vesper::client {
namespace {

// From Linux 6.7's headers, which a build machine may be too old for.
constexpr uint64_t kUserModeOnly = 1;
constexpr uint64_t kWpUnpopulated = 1u << 13;
constexpr uint64_t kWpAsync = 1u << 15;
struct PageRegion {
  uint64_t start;
  uint64_t end;
  uint64_t categories;
};
struct ScanArgs {
  uint64_t size;
  uint64_t flags;
  uint64_t start;
  uint64_t end;
  uint64_t walk_end;
  uint64_t vec;
  uint64_t vec_len;
  uint64_t max_pages;
  uint64_t category_inverted;
  uint64_t category_mask;
  uint64_t category_anyof_mask;
  uint64_t return_mask;
};
static_assert(sizeof(ScanArgs) == 96);
constexpr unsigned long kPagemapScan = _IOWR('f', 16, ScanArgs);
constexpr uint64_t kScanWpMatching = 1;
constexpr uint64_t kScanCheckWpAsync = 2;
constexpr uint64_t kWritten = 1u << 1;
constexpr uint64_t kPresent = 1u << 3;
constexpr uint64_t kSwapped = 1u << 4;

// The descriptors are set once, by OpenUffd(), before anybody else has a use for them, and need no lock.
struct Uffd {
  Mutex mutex;
  bool tried VESPER_GUARDED_BY(mutex) = false;
  bool works VESPER_GUARDED_BY(mutex) = false;
  std::string why VESPER_GUARDED_BY(mutex);
  int uffd = -1;
  int pagemap = -1;
  int status = -1;
  std::chrono::steady_clock::time_point pins_read VESPER_GUARDED_BY(mutex){};
  bool pins VESPER_GUARDED_BY(mutex) = false;
};

Uffd& TheUffd() {
  static Immortal<Uffd> uffd;
  return *uffd;
}

bool Failed(Uffd* all, const char* what) VESPER_REQUIRES(all->mutex) {
  all->why = std::string(what) + ": " + std::strerror(errno);
  return false;
}

bool Watch(const Uffd& all, const void* begin, size_t size) {
  uffdio_register request{};
  request.range.start = reinterpret_cast<uintptr_t>(begin);
  request.range.len = size;
  request.mode = UFFDIO_REGISTER_MODE_WP;
  return ioctl(all.uffd, UFFDIO_REGISTER, &request) == 0;
}

bool Take(const Uffd& all, const uint8_t* begin, size_t size, FunctionRef<void(size_t, size_t)> written) {
  std::array<PageRegion, limits::kRegionsAtOnce> regions;
  ScanArgs args{};
  args.size = sizeof(args);
  args.flags = kScanWpMatching | kScanCheckWpAsync;
  const auto base = reinterpret_cast<uintptr_t>(begin);
  args.start = base;
  args.end = base + size;
  args.vec = reinterpret_cast<uintptr_t>(regions.data());
  args.vec_len = regions.size();
  // Pages that nobody has touched are neither: they cost no entry in the page table.
  args.category_mask = kWritten;
  args.category_anyof_mask = kPresent | kSwapped;
  args.return_mask = kWritten;
  while (args.start < args.end) {
    const int count = ioctl(all.pagemap, kPagemapScan, &args);
    if (count < 0) {
      if (errno == EINTR) continue;
      return false;
    }
    for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
      const PageRegion& region = regions[i];
      written(static_cast<size_t>(region.start - base), static_cast<size_t>(region.end - region.start));
    }
    if (args.walk_end <= args.start) return false;
    args.start = args.walk_end;
  }
  return true;
}

// One page, written by a program and by the kernel, is seen each time and only then.
bool TryOut(Uffd* all) VESPER_REQUIRES(all->mutex) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const Pages pages(4 * page);
  if (!pages.valid() || !Watch(*all, pages.data(), pages.size()))
    return Failed(all, "registering memory for userfaultfd");
  for (uint8_t round = 1; round <= 3; ++round) {
    if (round == 2) {  // read(2) into it
      const int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
      const ssize_t got = zero < 0 ? -1 : read(zero, pages.data() + page, 16);
      if (zero >= 0) close(zero);
      if (got != 16) return Failed(all, "read(2) into watched memory");
    } else {
      *const_cast<volatile uint8_t*>(pages.data() + page) = round;
    }
    for (int scan = 0; scan < 2; ++scan) {
      size_t seen = 0;
      bool right = true;
      if (!Take(*all, pages.data(), pages.size(), [&](size_t offset, size_t size) {
            seen += size;
            right = right && offset == page;
          })) {
        return Failed(all, "PAGEMAP_SCAN");
      }
      if (right && seen == (scan == 0 ? page : 0)) continue;
      all->why = "PAGEMAP_SCAN does not tell written pages";
      return false;
    }
  }
  return true;
}

bool Open(Uffd* all) VESPER_REQUIRES(all->mutex) {
  all->uffd = static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | kUserModeOnly));
  if (all->uffd < 0) return Failed(all, "userfaultfd");
  uffdio_api api{};
  api.api = UFFD_API;
  api.features = kWpAsync | kWpUnpopulated;
  if (ioctl(all->uffd, UFFDIO_API, &api) != 0) return Failed(all, "userfaultfd has no asynchronous write protection");
  all->pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  if (all->pagemap < 0) return Failed(all, "/proc/self/pagemap");
  all->status = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
  if (all->status < 0) return Failed(all, "/proc/self/status");
  return TryOut(all);
}

void CloseAll(Uffd* all) {
  for (int* fd : {&all->uffd, &all->pagemap, &all->status}) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
  }
}

// "VmPin:	    1024 kB": what io_uring and RDMA have pinned. Without such a line nothing is known and everything is suspect.
bool ReadPins(const Uffd& all) {
  std::array<char, 4096> text;
  const ssize_t size = pread(all.status, text.data(), text.size() - 1, 0);
  if (size <= 0) return true;
  text[static_cast<size_t>(size)] = '\0';
  const char* line = std::strstr(text.data(), "\nVmPin:");
  return line == nullptr || std::strtoul(line + 7, nullptr, 10) != 0;
}

}  // namespace

bool OpenUffd(std::string* why) {
  Uffd& all = TheUffd();
  const MutexLock lock(all.mutex);
  if (!all.tried) {
    all.tried = true;
    all.works = Open(&all);
    if (!all.works) CloseAll(&all);
  }
  if (!all.works) *why = all.why;
  return all.works;
}

bool WatchWrites(const void* begin, size_t size) { return Watch(TheUffd(), begin, size); }

bool TakeWrittenPages(const uint8_t* begin, size_t size, FunctionRef<void(size_t offset, size_t size)> written) {
  return Take(TheUffd(), begin, size, written);
}

bool AllowWrites(const uint8_t* begin, size_t size) {
  uffdio_writeprotect request{};
  request.range.start = reinterpret_cast<uintptr_t>(begin);
  request.range.len = size;
  return ioctl(TheUffd().uffd, UFFDIO_WRITEPROTECT, &request) == 0;
}

bool HasPinnedMemory() {
  Uffd& all = TheUffd();
  const MutexLock lock(all.mutex);
  const auto now = std::chrono::steady_clock::now();
  if (now - all.pins_read >= limits::kPinsInterval) {
    all.pins = ReadPins(all);
    all.pins_read = now;
  }
  return all.pins;
}

void ForgetUffdAfterFork() noexcept {
  CloseAll(&TheUffd());
  new (&TheUffd()) Uffd;  // over the old one: its lock may be held by a thread that is not here
}

}  // namespace vesper::client
