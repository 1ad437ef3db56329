// The body of kMemoryWrite and kMemoryChanged: exact runs of bytes, neighbours packed under one mask. Written and read by both
// sides; bytes that are in no run are not touched by whoever applies them.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/object_id.h"
#include "runtime/wire/control.h"
#include "runtime/wire/encoder.h"

namespace vesper::wire {

// Builds one record (of either kind) after the other. May throw std::bad_alloc.
class RunWriter {
 public:
  explicit RunWriter(uint16_t record) : record_(record) {}

  void Begin(ObjectId memory);
  // After Begin(). Cheapest in ascending order.
  void Add(uint64_t offset, std::span<const uint8_t> bytes);
  // How much Finish() would give, roughly.
  size_t size() const { return out_.size() + mask_.size() + bytes_.size(); }
  bool empty() const { return count_ == 0 && extent_ == 0; }
  // The record, valid until the next Begin().
  std::span<const uint8_t> Finish();

 private:
  void Extend(uint64_t offset, std::span<const uint8_t> bytes);
  void Close();

  const uint16_t record_;
  ByteBuffer out_;
  size_t mark_ = 0;
  uint32_t count_ = 0;
  uint64_t offset_ = 0;  // of the open run
  size_t extent_ = 0;    // 0: none is open
  std::vector<uint8_t> mask_;
  std::vector<uint8_t> bytes_;
};

// One run as it lies in a record.
struct Run {
  uint64_t offset = 0;
  uint32_t extent = 0;
  const uint8_t* mask = nullptr;  // a bit for each byte of the extent that is there; null: all are
  std::span<const uint8_t> bytes;
};

// Takes the next run from `rest`. False when what is there is no run.
bool NextRun(std::span<const uint8_t>* rest, Run* run);

// Calls visit(offset, bytes) for each piece of a run without gaps.
template <typename Visit>
void ForEachPiece(const Run& run, Visit visit) {
  if (run.mask == nullptr) {
    visit(run.offset, run.bytes);
    return;
  }
  const auto has = [&run](size_t at) { return (run.mask[at / 8] >> (at % 8) & 1) != 0; };
  size_t taken = 0;
  for (size_t at = 0; at < run.extent;) {
    if (at % 8 == 0 && run.mask[at / 8] == 0) {
      at += 8;
      continue;
    }
    if (!has(at)) {
      ++at;
      continue;
    }
    const size_t from = at;
    while (at < run.extent && has(at)) ++at;
    visit(run.offset + from, run.bytes.subspan(taken, at - from));
    taken += at - from;
  }
}

}  // namespace vesper::wire
