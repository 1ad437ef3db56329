// One direction of a ring channel: messages as frames in shared memory, for one writer and one reader at a time. Neither waits
// (ring_channel.h does) and neither trusts what the other may have stored: positions and lengths are read once, kept and
// judged; every access stays within the ring whatever they are.
//
// A frame is a header of 16 bytes and the payload, padded to 16; it never wraps: a frame that skips fills the end of the ring
// when the next one does not fit there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "runtime/channel.h"
#include "runtime/transport/ring_memory.h"

namespace vesper::transport {

inline constexpr size_t kRingAlignment = 16;

enum class RingFlag : uint16_t {
  kNone = 0,
  kSkip = 1,    // nothing: the rest of the ring
  kBeside = 2,  // the message itself comes through the socket
  kPlaced = 4,  // its last bytes are a MemoryPlace
};

struct RingFrame {
  MessageKind kind = MessageKind::kGoodbye;
  RingFlag flag = RingFlag::kNone;
  uint64_t sequence = 0;
  std::span<const uint8_t>
      payload;  // in the ring, where the peer may change it at any time: to be copied before it is read
};

// Not thread-safe.
class RingWriter {
 public:
  // `bytes`: a power of two, at least 64 KiB.
  RingWriter(RingDirection* words, std::span<uint8_t> bytes) : words_(words), bytes_(bytes) {}

  // What one frame may carry: two of them fit.
  size_t largest() const { return bytes_.size() / 4; }
  // Where the payload of the next frame goes: contiguous, aligned to 16. nullptr while there is no room for so many bytes.
  // Reserving again takes the place of what was reserved before.
  uint8_t* Reserve(size_t payload);
  // The next frame is complete: so many bytes of what was reserved. The reader sees it with the next Publish().
  void Commit(MessageKind kind, RingFlag flag, uint64_t sequence, size_t payload);
  void Publish();

  // Whether the reader is done with all that was published.
  bool IsDrained() const { return words_->head.load(std::memory_order_acquire) == published_; }
  // The reader's position is none that it can have; nothing is ever reserved again.
  bool broken() const { return broken_; }

 private:
  bool HasRoom(uint64_t bytes);
  void StoreHeader(uint64_t at, uint32_t payload, uint16_t kind, RingFlag flag, uint64_t sequence);

  RingDirection* const words_;
  const std::span<uint8_t> bytes_;
  uint64_t written_ = 0;    // frames up to here are complete
  uint64_t published_ = 0;  // and these the reader may know
  uint64_t head_ = 0;       // the reader's, as last seen
  bool broken_ = false;
};

enum class RingStatus : uint8_t { kFrame, kEmpty, kMalformed };

// Not thread-safe, but for HasMore().
class RingReader {
 public:
  RingReader(RingDirection* words, std::span<const uint8_t> bytes) : words_(words), bytes_(bytes) {}

  // The next frame, which stays until Release(). Once malformed, always malformed.
  RingStatus Next(RingFrame* frame);
  // The frame is copied: its place is the writer's again.
  void Release();

  // Whether the writer has said something since.
  bool HasMore() const { return tail_ != head_ || words_->tail.load() != head_; }
  uint64_t position() const { return head_; }
  // Whether so much is free that a writer who waits for room should be told.
  bool IsHalfEmpty() const { return tail_ - head_ <= bytes_.size() / 2; }

 private:
  RingStatus Fail();

  RingDirection* const words_;
  const std::span<const uint8_t> bytes_;
  uint64_t head_ = 0;
  uint64_t tail_ = 0;   // the writer's, as last seen
  uint64_t taken_ = 0;  // bytes of the frame that was handed out
  bool malformed_ = false;
};

}  // namespace vesper::transport
