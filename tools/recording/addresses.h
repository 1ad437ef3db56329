// Device addresses that the recorded program was told, and those of the same objects in a replay. A program puts what it was told
// into memory, push constants and commands; where the driver says something else now, a replay has to put that there.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <unordered_map>

#include "runtime/object_id.h"
#include "runtime/wire/decoder.h"

namespace vesper::tools::recording {

class Addresses {
 public:
  void NoteBuffer(ObjectId buffer, uint64_t size) { sizes_[buffer] = size; }
  // Of an object whose address only means itself, nothing was noted.
  void Learn(ObjectId object, uint64_t recorded, uint64_t replayed);
  // Nothing has moved: there is nothing to do.
  bool empty() const { return moved_.empty(); }
  size_t moved() const { return moved_.size(); }

  std::optional<uint64_t> Moved(uint64_t address) const;
  // Calls visit(offset, address now) for each eight bytes that are such an address, looked for at multiples of `step`.
  template <typename Visit>
  void ForEachIn(std::span<const uint8_t> bytes, size_t step, Visit visit) const {
    if (empty()) return;
    for (size_t at = 0; at + sizeof(uint64_t) <= bytes.size();) {
      const auto word = wire::Load<uint64_t>(bytes.data() + at);
      const std::optional<uint64_t> now = word - low_ < high_ - low_ ? Moved(word) : std::nullopt;
      if (now) visit(at, *now);
      at += now ? sizeof(uint64_t) : step;
    }
  }

 private:
  struct Range {
    uint64_t size, now;
  };
  std::unordered_map<ObjectId, uint64_t> sizes_;
  std::map<uint64_t, Range> moved_;       // by where they began
  uint64_t low_ = UINT64_MAX, high_ = 0;  // of all of them
};

}  // namespace vesper::tools::recording
