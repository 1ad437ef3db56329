#include "server/shared_pages.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <limits>
#include <string>

namespace vesper::server {
namespace {

constexpr uint64_t kUnlimited = std::numeric_limits<uint64_t>::max();
// Left to everyone else: a machine without any free memory ends processes.
constexpr uint64_t kReserve = uint64_t{256} << 20;
constexpr uint64_t kSmall = uint64_t{4} << 20;  // for so little the system is not asked

uint64_t NumberIn(const char* path, uint64_t otherwise) {
  std::ifstream file(path);
  uint64_t number = 0;
  return file >> number ? number : otherwise;
}

uint64_t PhysicalMemory() {
  const auto pages = static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES));
  const uint64_t machine = pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  return std::min(machine, NumberIn("/sys/fs/cgroup/memory.max", kUnlimited));
}

uint64_t AvailableMemory() {
  uint64_t available = kUnlimited;
  std::ifstream file("/proc/meminfo");
  for (std::string word; file >> word;) {
    if (word != "MemAvailable:") continue;
    if (file >> available) available *= 1024;
    break;
  }
  const uint64_t limit = NumberIn("/sys/fs/cgroup/memory.max", kUnlimited);
  const uint64_t used = NumberIn("/sys/fs/cgroup/memory.current", 0);
  return limit == kUnlimited ? available : std::min(available, limit - std::min(limit, used));
}

}  // namespace

SharedBudget::SharedBudget(uint64_t limit) : limit_(limit == 0 ? PhysicalMemory() / 2 : limit) {}

bool SharedBudget::Take(uint64_t size) {
  if (size > kSmall && AvailableMemory() < kReserve + size) return false;
  const std::lock_guard lock(mutex_);
  if (size > limit_ - std::min(limit_, used_)) return false;
  used_ += size;
  peak_ = std::max(peak_, used_);
  return true;
}

void SharedBudget::Return(uint64_t size) {
  const std::lock_guard lock(mutex_);
  used_ -= size;
}

uint64_t SharedBudget::peak() const {
  const std::lock_guard lock(mutex_);
  return peak_;
}

std::unique_ptr<SharedPages> SharedPages::Make(uint64_t size, uint64_t alignment, SharedBudget* budget) {
  if (size == 0 || size > static_cast<uint64_t>(std::numeric_limits<off_t>::max()) / 2 || !budget->Take(size))
    return nullptr;
  std::unique_ptr<SharedPages> pages(new SharedPages(size, budget));
  if (!pages->MakeFile() || !pages->Map(alignment)) return nullptr;
  return pages;
}

SharedPages::~SharedPages() {
  if (data_ != nullptr) munmap(data_, size_);
  budget_->Return(size_);
}

bool SharedPages::MakeFile() {
  rlimit largest{};  // beyond which the system sends a signal instead of an error
  if (getrlimit(RLIMIT_FSIZE, &largest) == 0 && largest.rlim_cur != RLIM_INFINITY && size_ > largest.rlim_cur)
    return false;
  descriptor_ = Descriptor(memfd_create("vesper-memory", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!descriptor_.valid() || ftruncate(descriptor_.get(), static_cast<off_t>(size_)) != 0) return false;
  int failed;
  do {
    failed = fallocate(descriptor_.get(), 0, 0, static_cast<off_t>(size_));
  } while (failed != 0 && errno == EINTR);
  return failed == 0 && fcntl(descriptor_.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0;
}

// Where the kernel's own choice is not aligned enough, a larger reservation holds an address that is.
bool SharedPages::Map(uint64_t alignment) {
  void* reserved = mmap(nullptr, size_ + alignment, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) return false;
  auto* const begin = static_cast<uint8_t*>(reserved);
  const uint64_t skip = (alignment - reinterpret_cast<uintptr_t>(begin) % alignment) % alignment;
  uint8_t* const aligned = begin + skip;
  void* mapped = mmap(aligned, size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, descriptor_.get(), 0);
  if (skip != 0) munmap(begin, skip);
  if (alignment != skip) munmap(aligned + size_, alignment - skip);
  if (mapped == MAP_FAILED) {
    munmap(aligned, size_);
    return false;
  }
  data_ = aligned;
  return true;
}

}  // namespace vesper::server
