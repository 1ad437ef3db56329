#include "client/objects/memory_credit.h"

#include <algorithm>
#include <new>

#include "client/base/limits.h"

namespace vesper::client {

uint64_t MemoryCredit::Take(uint32_t index, uint64_t bytes) noexcept {
  const MutexLock lock(mutex_);
  Heap& heap = heaps_[index];
  if (heap.kept < heap.under_way || bytes > heap.kept - heap.under_way) return 0;
  try {
    heap.taken.push_back({heap.last + 1, bytes});
  } catch (const std::bad_alloc&) {
    return 0;
  }
  heap.under_way += bytes;
  return ++heap.last;
}

void MemoryCredit::GiveBack(uint32_t index, uint64_t number) noexcept {
  const MutexLock lock(mutex_);
  Heap& heap = heaps_[index];
  const auto found =
      std::find_if(heap.taken.begin(), heap.taken.end(), [&](const Taken& taken) { return taken.number == number; });
  if (found == heap.taken.end()) return;
  heap.under_way -= found->bytes;
  heap.taken.erase(found);
}

bool MemoryCredit::Wants(uint32_t index, uint64_t bytes, wire::MemoryCreditRequest* request) noexcept {
  if (bytes > limits::kMostCredit) return false;
  const MutexLock lock(mutex_);
  Heap& heap = heaps_[index];
  if (heap.tight || heap.asked >= limits::kMostCredit) return false;
  heap.asked = std::clamp(std::max(2 * heap.asked, 2 * bytes), limits::kLeastCredit, limits::kMostCredit);
  request->request = ++heap.request;
  request->bytes = heap.asked;
  return true;
}

bool MemoryCredit::GiveUp(uint32_t index, wire::MemoryCreditRequest* request) noexcept {
  const MutexLock lock(mutex_);
  Heap& heap = heaps_[index];
  if (heap.asked == 0) return false;
  heap.asked = heap.kept = 0;
  heap.tight = true;
  request->request = ++heap.request;
  request->bytes = 0;
  return true;
}

void MemoryCredit::Told(const wire::MemoryCredit& told) noexcept {
  if (told.heap >= VK_MAX_MEMORY_HEAPS) return;
  const MutexLock lock(mutex_);
  Heap& heap = heaps_[told.heap];
  if (told.request == heap.request) heap.kept = std::min(told.bytes, heap.asked);
  size_t done = 0;
  while (done < heap.taken.size() && heap.taken[done].number <= told.taken) heap.under_way -= heap.taken[done++].bytes;
  heap.taken.erase(heap.taken.begin(), heap.taken.begin() + static_cast<std::ptrdiff_t>(done));
}

void MemoryCredit::Allocated() noexcept {
  const MutexLock lock(mutex_);
  ++allocations_;
}

void MemoryCredit::Freed() noexcept {
  const MutexLock lock(mutex_);
  --allocations_;
  for (Heap& heap : heaps_) heap.tight = false;
}

uint64_t MemoryCredit::allocations() noexcept {
  const MutexLock lock(mutex_);
  return allocations_;
}

}  // namespace vesper::client
