#include "runtime/arena.h"

#include <algorithm>
#include <cstring>
#include <new>

#ifdef VESPER_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace vesper {
namespace {

#ifdef VESPER_ASAN
constexpr size_t kGap = 16;
void Forbid(const void* begin, size_t size) { __asan_poison_memory_region(begin, size); }
void Allow(const void* begin, size_t size) { __asan_unpoison_memory_region(begin, size); }
#else
constexpr size_t kGap = 0;
void Forbid(const void*, size_t) {}
void Allow(const void*, size_t) {}
#endif

}  // namespace

void* Arena::Allocate(size_t size) noexcept {
  void* result = Reserve(size);
  if (result != nullptr) std::memset(result, 0, size);
  return result;
}

void* Arena::ReserveMore(size_t size) noexcept {
  if (size > limit_ - std::min(limit_, used_)) return nullptr;
  const size_t rounded = std::max(kAlignment, (size + kAlignment - 1) / kAlignment * kAlignment);
  if (static_cast<size_t>(end_ - cursor_) < rounded + kGap && !AddBlock(rounded + kGap)) return nullptr;
  void* result = cursor_;
  Allow(result, size);
  cursor_ += rounded + kGap;
  used_ += rounded;
  return result;
}

bool Arena::AddBlock(size_t size) noexcept {
  const size_t wanted = std::max(size, blocks_.empty() ? kFirstBlock : 2 * blocks_.back().size);
  const size_t block_size = std::max(size, std::min(wanted, size_t{4} << 20));
  try {
    // new[] of std::byte aligns to __STDCPP_DEFAULT_NEW_ALIGNMENT__, which is 16 where vesper builds for 64 bits.
    std::unique_ptr<std::byte[]> bytes(new std::byte[block_size + kAlignment]);
    const auto address = reinterpret_cast<uintptr_t>(bytes.get());
    const size_t skip = (kAlignment - address % kAlignment) % kAlignment;
    cursor_ = bytes.get() + skip;
    end_ = cursor_ + block_size;
    if (blocks_.empty()) first_ = cursor_;
    Forbid(cursor_, block_size);
    blocks_.push_back({std::move(bytes), block_size});
    return true;
  } catch (const std::bad_alloc&) {
    cursor_ = end_ = nullptr;
    return false;
  }
}

void Arena::ResetAll() noexcept {
  used_ = 0;
  blocks_.resize(1);
  cursor_ = first_;
  end_ = cursor_ + blocks_[0].size;
  Forbid(cursor_, blocks_[0].size);
}

}  // namespace vesper
