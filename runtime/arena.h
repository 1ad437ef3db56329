// Memory for what one decoded command points at: a bump allocator that is emptied as a whole after the command.
// Used by the decoder on both sides. Not thread-safe: one arena belongs to one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

// Under AddressSanitizer nothing lies next to anything, so that what runs over the end of an allocation is found.
#if defined(__SANITIZE_ADDRESS__)
#define VESPER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define VESPER_ASAN 1
#endif
#endif

namespace vesper {

class Arena {
 public:
  static constexpr size_t kFirstBlock = 16 * 1024;

  // Never hands out more than `limit` bytes between two calls of Reset().
  explicit Arena(size_t limit) : limit_(limit) {}
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Zeroed memory of `size` bytes, aligned to 16, valid until Reset(); nullptr when the limit or the system's memory is
  // exhausted. A size of 0 gives a valid pointer.
  void* Allocate(size_t size) noexcept;
  // The same with whatever was there before, for what is written at once.
  void* Reserve(size_t size) noexcept {
    const size_t rounded = size == 0 ? kAlignment : (size + kAlignment - 1) / kAlignment * kAlignment;
    if (kGuarded || size > kSmall || rounded > static_cast<size_t>(end_ - cursor_) || used_ + rounded > limit_)
        [[unlikely]]
      return ReserveMore(size);
    void* result = cursor_;
    cursor_ += rounded;
    used_ += rounded;
    return result;
  }

  // Frees everything handed out, keeping the first block for the next command.
  void Reset() noexcept {
    if (used_ == 0) return;
    if (kGuarded || blocks_.size() > 1) return ResetAll();
    used_ = 0;
    cursor_ = first_;
  }

  size_t used() const { return used_; }

 private:
  static constexpr size_t kAlignment = 16;
  static constexpr size_t kSmall = 4096;  // what is larger is looked at more closely
#ifdef VESPER_ASAN
  static constexpr bool kGuarded = true;
#else
  static constexpr bool kGuarded = false;
#endif
  [[gnu::noinline]] void* ReserveMore(size_t size) noexcept;
  [[gnu::noinline]] void ResetAll() noexcept;
  struct Block {
    std::unique_ptr<std::byte[]> bytes;
    size_t size;
  };
  bool AddBlock(size_t size) noexcept;

  std::vector<Block> blocks_;
  std::byte* first_ = nullptr;  // of the first block
  std::byte* cursor_ = nullptr;
  std::byte* end_ = nullptr;
  size_t used_ = 0;
  const size_t limit_;
};

}  // namespace vesper
