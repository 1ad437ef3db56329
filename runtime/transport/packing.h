// Messages made smaller by LZ4 where the line is what limits, and made whole again. A sender decides for each message; how it was
// packed stands in the message (docs/wire.md). Used by channels over sockets, after a handshake that agreed on it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/channel.h"

namespace vesper::transport {

enum class Packing : uint8_t {
  kNone = 0,
  kLz4 = 1,
  // Of words of four bytes first all first bytes, then all second ones …; what is no whole word last. Floating-point numbers have
  // much in common in their upper bytes alone.
  kLz4OfPlanes = 2
};
inline constexpr uint8_t kLastPacking = 2;

// Messages of that many bytes are packed: smaller ones gain nothing, larger ones are none that wait for a line.
inline constexpr size_t kLeastPackable = 512;
inline constexpr size_t kMostPackable = size_t{1} << 20;

// The sender's half. Not thread-safe.
class Packer {
 public:
  void Start(Compression mode) { mode_ = mode; }

  // Whether to Pack() a message of that size for a line that takes so many bytes a second (0: nobody has had to wait for it).
  bool Wants(size_t bytes, uint64_t line_rate);
  // kNone when packing makes the message hardly smaller, or memory is exhausted; else `packed` is valid until the next call.
  Packing Pack(std::span<const std::span<const uint8_t>> parts, std::span<const uint8_t>* packed) noexcept;

 private:
  std::span<const uint8_t> Join(std::span<const std::span<const uint8_t>> parts);
  size_t Compress(std::span<const uint8_t> bytes, std::vector<uint8_t>* out);
  void NoteGain(size_t bytes, size_t packed);

  Compression mode_ = Compression::kOff;
  Packing preferred_ = Packing::kLz4;  // what was the smaller of both lately
  unsigned until_compared_ = 0;        // messages that are packed in that way alone
  unsigned in_vain_ = 0;               // messages to be left alone once more after those that gained nothing
  unsigned skipping_ = 0;              // of them, how many are still to come
  double speed_ = 4e8;                 // bytes a second that are packed
  unsigned refused_ = 0;               // messages since, for a line that is faster than that
  std::unique_ptr<uint8_t[]> state_;
  std::vector<uint8_t> joined_, planes_, packed_, other_;
};

// The receiver's half: `out` becomes the `size` bytes that were packed. False for anything else.
bool Unpack(Packing packing, std::span<const uint8_t> packed, size_t size, std::vector<uint8_t>* out);

}  // namespace vesper::transport
