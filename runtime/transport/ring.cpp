#include "runtime/transport/ring.h"

#include <atomic>

namespace vesper::transport {
namespace {

constexpr size_t kHeaderBytes = 16;

constexpr uint64_t Padded(uint64_t bytes) { return (bytes + kRingAlignment - 1) / kRingAlignment * kRingAlignment; }

// Headers are loaded and stored in two words, each once.
uint64_t LoadWord(const uint8_t* at) {
  return __atomic_load_n(reinterpret_cast<const uint64_t*>(at), __ATOMIC_RELAXED);
}
// NOLINTNEXTLINE(readability-non-const-parameter): the store, of which the check knows nothing, writes there
void StoreWord(uint8_t* at, uint64_t value) {
  __atomic_store_n(reinterpret_cast<uint64_t*>(at), value, __ATOMIC_RELAXED);
}

}  // namespace

bool RingWriter::HasRoom(uint64_t bytes) {
  if (bytes_.size() - (written_ - head_) >= bytes) return true;
  const uint64_t head = words_->head.load(std::memory_order_acquire);
  if (head - head_ > published_ - head_) broken_ = true;  // backwards, or beyond what there is to read
  if (broken_) return false;
  head_ = head;
  return bytes_.size() - (written_ - head_) >= bytes;
}

uint8_t* RingWriter::Reserve(size_t payload) {
  if (broken_ || payload > largest()) return nullptr;
  const uint64_t frame = kHeaderBytes + Padded(payload);
  const uint64_t to_end = bytes_.size() - (written_ & (bytes_.size() - 1));
  const uint64_t skipped = frame > to_end ? to_end : 0;
  if (!HasRoom(frame + skipped)) return nullptr;
  if (skipped != 0) {
    StoreHeader(written_, static_cast<uint32_t>(skipped - kHeaderBytes), 0, RingFlag::kSkip, 0);
    written_ += skipped;
  }
  return &bytes_[static_cast<size_t>(written_ & (bytes_.size() - 1)) + kHeaderBytes];
}

void RingWriter::StoreHeader(uint64_t at, uint32_t payload, uint16_t kind, RingFlag flag, uint64_t sequence) {
  uint8_t* const header = &bytes_[static_cast<size_t>(at & (bytes_.size() - 1))];
  StoreWord(header, uint64_t{payload} | uint64_t{kind} << 32 | uint64_t{static_cast<uint16_t>(flag)} << 48);
  StoreWord(header + 8, sequence);
}

void RingWriter::Commit(MessageKind kind, RingFlag flag, uint64_t sequence, size_t payload) {
  StoreHeader(written_, static_cast<uint32_t>(payload), static_cast<uint16_t>(kind), flag, sequence);
  written_ += kHeaderBytes + Padded(payload);
}

// In one order with the flags of sleepers (ring_channel.cpp).
void RingWriter::Publish() {
  published_ = written_;
  words_->tail.store(published_, std::memory_order_seq_cst);
}

RingStatus RingReader::Fail() {
  malformed_ = true;
  return RingStatus::kMalformed;
}

RingStatus RingReader::Next(RingFrame* frame) {
  if (malformed_) return RingStatus::kMalformed;
  for (int skips = 0; skips < 2; ++skips) {
    if (tail_ == head_) {
      const uint64_t tail = words_->tail.load(std::memory_order_acquire);
      if (tail - head_ > bytes_.size() || tail % kRingAlignment != 0) return Fail();
      if (tail == head_) return RingStatus::kEmpty;
      tail_ = tail;
    }
    const auto offset = static_cast<size_t>(head_ & (bytes_.size() - 1));
    const uint64_t word = LoadWord(&bytes_[offset]);
    const uint64_t sequence = LoadWord(&bytes_[offset + 8]);
    const auto payload = static_cast<uint32_t>(word);
    const uint64_t total = kHeaderBytes + Padded(payload);
    const uint64_t to_end = bytes_.size() - offset;
    if (total > to_end || total > tail_ - head_) return Fail();
    const auto kind = static_cast<uint16_t>(word >> 32);
    const auto flag = static_cast<RingFlag>(word >> 48);
    taken_ = total;
    if (flag == RingFlag::kSkip) {
      if (total != to_end) return Fail();
      Release();
      continue;
    }
    const bool known = flag == RingFlag::kNone || flag == RingFlag::kBeside || flag == RingFlag::kPlaced;
    if (kind > static_cast<uint16_t>(MessageKind::kGoodbye) || !known) return Fail();
    *frame = {static_cast<MessageKind>(kind), flag, sequence, bytes_.subspan(offset + kHeaderBytes, payload)};
    return RingStatus::kFrame;
  }
  return Fail();  // no writer skips twice
}

void RingReader::Release() {
  head_ += taken_;
  taken_ = 0;
  words_->head.store(head_, std::memory_order_seq_cst);
}

}  // namespace vesper::transport
