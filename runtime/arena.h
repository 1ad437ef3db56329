// Memory for what one decoded command points at: a bump allocator that is emptied as a whole after the command.
// Used by the decoder on both sides. Not thread-safe: one arena belongs to one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

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

  // Frees everything handed out, keeping the first block for the next command.
  void Reset() noexcept;

  size_t used() const { return used_; }

 private:
  struct Block {
    std::unique_ptr<std::byte[]> bytes;
    size_t size;
  };
  bool AddBlock(size_t size) noexcept;

  std::vector<Block> blocks_;
  std::byte* cursor_ = nullptr;
  std::byte* end_ = nullptr;
  size_t used_ = 0;
  const size_t limit_;
};

}  // namespace vesper
