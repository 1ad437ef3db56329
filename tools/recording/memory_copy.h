// What a client knew of one memory object: bytes that it wrote and bytes that the server sent, over zeros. Kept for the recorded
// session and for the replay of it; equal copies have equal hashes.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

namespace vesper::tools::recording {

class MemoryCopy {
 public:
  static constexpr uint64_t kPage = 4096;
  // Where no program has memory.
  static constexpr uint64_t kMaxOffset = uint64_t{1} << 44;

  void Write(uint64_t offset, std::span<const uint8_t> bytes);
  // What was never written reads as zeros.
  void Read(uint64_t offset, std::span<uint8_t> bytes) const;
  // Of all of it: pages of zeros count like those that are not there.
  uint64_t Hash();
  uint64_t Hash(uint64_t offset, uint64_t size) const;
  // Where another copy holds other bytes: the first, the last, and how many.
  struct Difference {
    uint64_t first = 0, last = 0, count = 0;
  };
  Difference Compare(const MemoryCopy& other) const;
  uint64_t bytes() const { return pages_.size() * kPage; }

 private:
  using Bytes = std::array<uint8_t, kPage>;
  struct Page {
    Bytes bytes{};
    uint64_t hash = 0;
    bool stale = false;
  };
  const Bytes& PageAt(uint64_t number) const;

  std::unordered_map<uint64_t, std::unique_ptr<Page>> pages_;
  std::vector<uint64_t> stale_;
  uint64_t sum_ = 0;  // of the hashes of pages that are not stale
};

}  // namespace vesper::tools::recording
