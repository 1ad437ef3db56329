// The body of kMemoryWrite and kMemoryChanged: exact runs of bytes, scattered ones packed under one mask, dense ones with a list
// of the few bytes between that did not change. Written and read by both sides; bytes that are in no run are not touched by
// whoever applies them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "runtime/object_id.h"
#include "runtime/wire/changes.h"
#include "runtime/wire/control.h"
#include "runtime/wire/decoder.h"
#include "runtime/wire/encoder.h"

namespace vesper::wire {

// Builds one record (of either kind) after the other. May throw std::bad_alloc.
class RunWriter {
 public:
  explicit RunWriter(uint16_t record) : record_(record) {}

  void Begin(ObjectId memory);
  // After Begin(). What joins the run before it in ascending order becomes one with it.
  void Add(uint64_t offset, std::span<const uint8_t> bytes);
  // Whatever changed: stretches with hardly a gap as they are, what is scattered under masks.
  void Add(const Changes& changes);
  // How much Finish() would give, roughly.
  size_t size() const { return out_.size(); }
  bool empty() const { return count_ == 0; }
  // The record, valid until the next Begin().
  std::span<const uint8_t> Finish();
  // After Finish(): the record to be taken away, leaving any other buffer.
  ByteBuffer* buffer() { return &out_; }

 private:
  size_t Join(uint64_t offset, std::span<const uint8_t> bytes);
  void AddDense(const Changes& changes, size_t first_line, size_t end_line);
  void AddHoles(const Changes& changes, size_t begin, size_t end);
  void AddScattered(const Changes& changes, size_t first_line, size_t end_line);
  void Close();
  void Pad();

  const uint16_t record_;
  ByteBuffer out_;
  size_t mark_ = 0;
  uint32_t count_ = 0;
  size_t open_ = 0;        // where the last run lies in out_, if it has no mask and bytes may join it; else 0
  uint64_t open_end_ = 0;  // the offset at which they would have to begin
  ByteBuffer holes_;       // of that run
};

// One run as it lies in a record.
struct Run {
  uint64_t offset = 0;
  uint32_t extent = 0;
  const uint8_t* mask = nullptr;  // a bit for each byte of the extent that is there; null: all are
  std::span<const uint8_t> bytes;
  std::span<const uint8_t> holes = {};  // without a mask: where bytes are that mean nothing, 16 bits each, ascending

  size_t changed() const { return bytes.size() - hole_count(); }
  size_t hole_count() const { return holes.size() / sizeof(uint16_t); }
  size_t hole(size_t index) const { return Load<uint16_t>(holes.data() + index * sizeof(uint16_t)); }
};

// Takes the next run from `rest`. False when what is there is no run.
bool NextRun(std::span<const uint8_t>* rest, Run* run);

// Puts the bytes of a run into memory that others write at the same time, and the same into the twin; both pointers are where
// the run's extent begins. No other byte of `shared` is written, and none is read. Where nobody else writes there need be no twin.
void PlaceRun(const Run& run, uint8_t* shared, uint8_t* twin);

// Calls visit(offset, bytes) for each piece of a run without gaps.
template <typename Visit>
void ForEachPiece(const Run& run, Visit visit) {
  if (run.mask == nullptr) {
    size_t at = 0;
    for (size_t i = 0; i <= run.hole_count(); ++i) {
      const size_t end = i < run.hole_count() ? run.hole(i) : run.bytes.size();
      if (at < end) visit(run.offset + at, run.bytes.subspan(at, end - at));
      at = end + 1;
    }
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
