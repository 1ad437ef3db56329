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
  if (PageSource* source = budget->source(); source != nullptr) {
    const std::optional<NumberedPages> made = source->Make(size);
    if (!made) return nullptr;
    pages->place_ = {made->number, size};
    return pages->Map(source->file(), made->places, alignment) ? std::move(pages) : nullptr;
  }
  if (AreaPool* area = budget->area(); area != nullptr) {
    const std::optional<uint64_t> offset = area->Take(size, alignment);
    if (!offset) return nullptr;
    pages->place_ = {*offset, size};
    return pages->Map(area->area().file().get(), {{area->area().begin() + *offset, size}}, alignment) ? std::move(pages)
                                                                                                      : nullptr;
  }
  pages->descriptor_ = MakeSealedFile("vesper-memory", size);
  if (!pages->descriptor_.valid() || !pages->Map(pages->descriptor_.get(), {{0, size}}, alignment)) return nullptr;
  return pages;
}

SharedPages::~SharedPages() {
  GiveBack();
  if (data_ != nullptr) munmap(data_, size_);
  if (place_.size == 0) return;
  if (budget_->source() != nullptr) {
    budget_->source()->Drop(place_.offset);
  } else {
    budget_->area()->Return(place_);
  }
}

void SharedPages::GiveBack() {
  if (returned_) return;
  // Where that fails the client may hold the pages for as long as it likes, and they stay on its account.
  returned_ = data_ == nullptr || madvise(data_, size_, MADV_REMOVE) == 0;
  if (returned_) budget_->Return(size_);
}

bool SharedPages::Map(int file, const std::vector<MemoryPlace>& places, uint64_t alignment) {
  data_ = MapPlaces(file, places, alignment);
  return data_ != nullptr;
}

// Where the kernel's own choice is not aligned enough, a larger reservation holds an address that is.
uint8_t* MapPlaces(int file, const std::vector<MemoryPlace>& places, uint64_t alignment) {
  uint64_t size = 0;
  for (const MemoryPlace& place : places) size += place.size;
  void* reserved = mmap(nullptr, size + alignment, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) return nullptr;
  auto* const begin = static_cast<uint8_t*>(reserved);
  const uint64_t skip = (alignment - reinterpret_cast<uintptr_t>(begin) % alignment) % alignment;
  uint8_t* const aligned = begin + skip;
  if (skip != 0) munmap(begin, skip);
  if (alignment != skip) munmap(aligned + size, alignment - skip);
  uint64_t at = 0;
  for (const MemoryPlace& place : places) {
    if (mmap(aligned + at, place.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file,
             static_cast<off_t>(place.offset)) == MAP_FAILED) {
      munmap(aligned, size);
      return nullptr;
    }
    at += place.size;
  }
  return aligned;
}

}  // namespace vesper::server
