#include "runtime/wire/memory_runs.h"

#include <algorithm>
#include <cstring>

#include "runtime/wire/decoder.h"
#include "runtime/wire/record.h"

namespace vesper::wire {
namespace {

constexpr uint64_t kJoinedGap = 64;  // a run of its own costs more than eight bytes of mask
constexpr size_t kMaxExtent = 64 * 1024;

size_t Padding(size_t size) { return (8 - size % 8) % 8; }

void SetBits(std::vector<uint8_t>* mask, size_t from, size_t to) {
  for (; from < to && from % 8 != 0; ++from)
    (*mask)[from / 8] = static_cast<uint8_t>((*mask)[from / 8] | 1u << (from % 8));
  if (to - from >= 8) std::fill_n(mask->begin() + static_cast<ptrdiff_t>(from / 8), (to - from) / 8, uint8_t{0xff});
  for (from = std::max(from, to / 8 * 8); from < to; ++from) {
    (*mask)[from / 8] = static_cast<uint8_t>((*mask)[from / 8] | 1u << (from % 8));
  }
}

}  // namespace

void RunWriter::Begin(ObjectId memory) {
  out_.clear();
  mark_ = BeginRecord(&out_, record_, 0);
  const MemoryRuns head{memory, 0, 0};
  out_.Append(&head, sizeof(head));
  count_ = 0;
  extent_ = 0;
}

void RunWriter::Add(uint64_t offset, std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const auto piece = bytes.first(std::min(bytes.size(), kMaxExtent));
    const uint64_t end = offset_ + extent_;
    const bool joins =
        extent_ != 0 && offset >= end && offset - end < kJoinedGap && offset - offset_ + piece.size() <= kMaxExtent;
    if (!joins) {
      Close();
      offset_ = offset;
    }
    Extend(offset, piece);
    offset += piece.size();
    bytes = bytes.subspan(piece.size());
  }
}

void RunWriter::Extend(uint64_t offset, std::span<const uint8_t> bytes) {
  const auto from = static_cast<size_t>(offset - offset_);
  const bool gapless = bytes_.size() == extent_ && from == extent_;
  if (!gapless) {
    const size_t before = bytes_.size() == extent_ ? extent_ : 0;  // of which no bits were kept
    mask_.resize((from + bytes.size() + 7) / 8, 0);
    SetBits(&mask_, 0, before);
    SetBits(&mask_, from, from + bytes.size());
  }
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  extent_ = from + bytes.size();
}

void RunWriter::Close() {
  if (extent_ == 0) return;
  const MemoryRun run{offset_, static_cast<uint32_t>(extent_), static_cast<uint32_t>(bytes_.size())};
  out_.Append(&run, sizeof(run));
  out_.Append(mask_.data(), mask_.size());
  out_.Append(bytes_.data(), bytes_.size());
  const size_t padding = Padding(mask_.size() + bytes_.size());
  if (padding != 0) std::memset(out_.Append(padding), 0, padding);
  ++count_;
  extent_ = 0;
  mask_.clear();
  bytes_.clear();
}

std::span<const uint8_t> RunWriter::Finish() {
  Close();
  Store(out_.data() + mark_ + sizeof(RecordHeader) + offsetof(MemoryRuns, count), count_);
  if (!EndRecord(&out_, mark_)) out_.clear();
  return {out_.data(), out_.size()};
}

bool NextRun(std::span<const uint8_t>* rest, Run* run) {
  if (rest->size() < sizeof(MemoryRun)) return false;
  const auto head = Load<MemoryRun>(rest->data());
  const auto body = rest->subspan(sizeof(head));
  const size_t mask_size = head.changed == head.extent ? 0 : (static_cast<size_t>(head.extent) + 7) / 8;
  const size_t size = mask_size + head.changed;
  if (head.changed > head.extent || size > body.size()) return false;
  *run = {head.offset, head.extent, mask_size == 0 ? nullptr : body.data(), body.subspan(mask_size, head.changed)};
  if (run->mask != nullptr) {
    size_t bits = 0;
    for (size_t i = 0; i < mask_size; ++i) bits += static_cast<size_t>(std::popcount(run->mask[i]));
    const auto beyond = static_cast<uint8_t>(head.extent % 8 == 0 ? 0 : 0xff << (head.extent % 8));
    if (bits != head.changed || (run->mask[mask_size - 1] & beyond) != 0) return false;
  }
  *rest = body.subspan(std::min(body.size(), size + Padding(size)));
  return true;
}

}  // namespace vesper::wire
