#include "server/memory/shared_pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <limits>

#include "runtime/sealed_file.h"
#include "server/base/limits.h"
#include "server/base/machine_memory.h"

namespace vesper::server {

SharedBudget::SharedBudget(uint64_t limit) : limit_(limit == 0 ? MachineMemory() / 2 : limit) {}

bool SharedBudget::Take(uint64_t size) {
  if (size > limits::kSmallSharing && AvailableMemory() < limits::kReservedMemory + size) return false;
  const MutexLock lock(mutex_);
  if (size > limit_ - std::min(limit_, used_)) return false;
  used_ += size;
  peak_ = std::max(peak_, used_);
  return true;
}

void SharedBudget::Return(uint64_t size) {
  const MutexLock lock(mutex_);
  used_ -= size;
}

uint64_t SharedBudget::peak() const {
  const MutexLock lock(mutex_);
  return peak_;
}

std::unique_ptr<SharedPages> SharedPages::Make(uint64_t size, uint64_t alignment, SharedBudget* budget) {
  if (size == 0 || size > static_cast<uint64_t>(std::numeric_limits<off_t>::max()) / 2 || !budget->Take(size))
    return nullptr;
  std::unique_ptr<SharedPages> pages(new SharedPages(size, budget));
  if (AreaPool* area = budget->area(); area != nullptr) {
    const std::optional<uint64_t> offset = area->Take(size, alignment);
    if (!offset) return nullptr;
    pages->place_ = {*offset, size};
    return pages->Map(area->area().file().get(), area->area().begin() + *offset, alignment) ? std::move(pages)
                                                                                            : nullptr;
  }
  pages->descriptor_ = MakeSealedFile("vesper-memory", size);
  if (!pages->descriptor_.valid() || !pages->Map(pages->descriptor_.get(), 0, alignment)) return nullptr;
  return pages;
}

SharedPages::~SharedPages() {
  GiveBack();
  if (data_ != nullptr) munmap(data_, size_);
  if (place_.size != 0) budget_->area()->Return(place_);
}

void SharedPages::GiveBack() {
  if (returned_) return;
  // Where that fails the client may hold the pages for as long as it likes, and they stay on its account.
  returned_ = data_ == nullptr || madvise(data_, size_, MADV_REMOVE) == 0;
  if (returned_) budget_->Return(size_);
}

// Where the kernel's own choice is not aligned enough, a larger reservation holds an address that is.
bool SharedPages::Map(int file, uint64_t offset, uint64_t alignment) {
  void* reserved = mmap(nullptr, size_ + alignment, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) return false;
  auto* const begin = static_cast<uint8_t*>(reserved);
  const uint64_t skip = (alignment - reinterpret_cast<uintptr_t>(begin) % alignment) % alignment;
  uint8_t* const aligned = begin + skip;
  void* mapped = mmap(aligned, size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, static_cast<off_t>(offset));
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
