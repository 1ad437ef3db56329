#include "client/memory/shared_memory.h"

#include <sys/mman.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

#include "client/base/immortal.h"
#include "client/base/limits.h"
#include "runtime/area.h"
#include "runtime/mutex.h"
#include "runtime/sealed_file.h"

namespace vesper::client {
namespace {

// Where mappings are, for the child of a fork: entries that are written without tearing in blocks that are never freed, so
// that whatever moment the fork came at, the child can read them.
struct Entry {
  std::atomic<uint8_t*> data{nullptr};
  std::atomic<size_t> size{0};
};
struct Block {
  std::array<Entry, limits::kMappingsOfBlock> entries;
  std::atomic<Block*> next{nullptr};
};
struct Registry {
  Mutex mutex;  // held by who enters or removes; readers need no lock
  Block first;
};

Registry& All() {
  static Immortal<Registry> all;
  return *all;
}

bool Enter(uint8_t* data, size_t size) noexcept {
  Registry& all = All();
  const MutexLock lock(all.mutex);
  for (Block* block = &all.first;; block = block->next.load()) {
    for (Entry& entry : block->entries) {
      if (entry.data.load(std::memory_order_relaxed) != nullptr) continue;
      entry.size.store(size);
      entry.data.store(data);
      return true;
    }
    if (block->next.load() != nullptr) continue;
    auto* added = new (std::nothrow) Block;
    if (added == nullptr) return false;
    block->next.store(added);
  }
}

void Remove(const uint8_t* data) noexcept {
  Registry& all = All();
  const MutexLock lock(all.mutex);
  for (Block* block = &all.first; block != nullptr; block = block->next.load()) {
    for (Entry& entry : block->entries) {
      if (entry.data.load(std::memory_order_relaxed) == data) {
        entry.data.store(nullptr);
        return;
      }
    }
  }
}

}  // namespace

bool SharedMapping::Map(const Descriptor& file, uint64_t size, MemoryPlace place) noexcept {
  if (size == 0 || size > SIZE_MAX) return false;
  if (place.size == 0 ? !IsSealed(file, size) : place.size < size) return false;
  const uint64_t before = place.size == 0 ? 0 : place.offset % Area::kUnit;
  const uint64_t all = place.size == 0 ? size : Area::InUnits(before + size);
  if (!std::in_range<size_t>(all)) return false;
  const auto length = static_cast<size_t>(all);
  void* mapped =
      mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), static_cast<off_t>(place.offset - before));
  if (mapped == MAP_FAILED) return false;
  if (madvise(mapped, length, MADV_DONTFORK) != 0 || !Enter(static_cast<uint8_t*>(mapped), length)) {
    munmap(mapped, length);
    return false;
  }
  mapped_ = static_cast<uint8_t*>(mapped);
  data_ = mapped_ + before;
  size_ = length;
  return true;
}

SharedMapping::~SharedMapping() {
  if (data_ == nullptr) return;
  Remove(mapped_);
  munmap(mapped_, size_);
}

void ReplaceSharedMappingsAfterFork() noexcept {
  Registry& all = All();
  for (Block* block = &all.first; block != nullptr; block = block->next.load()) {
    for (Entry& entry : block->entries) {
      uint8_t* const data = entry.data.load();
      if (data == nullptr) continue;
      // An address that the parent was giving back may be in use again: then it is not ours.
      static_cast<void>(mmap(data, entry.size.load(), PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0));
      entry.data.store(nullptr, std::memory_order_relaxed);
    }
  }
  new (&all.mutex) Mutex;  // its holder may be a thread that is not here
}

}  // namespace vesper::client
