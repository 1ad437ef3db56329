#include "runtime/wire/memory_runs.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "runtime/wire/decoder.h"
#include "runtime/wire/record.h"

namespace vesper::wire {
namespace {

constexpr size_t kMaxExtent = 64 * 1024;
// A header costs about as much as the mask of two lines: so many without a change, or four of nothing else, end a mask.
constexpr size_t kEmptyLines = 2;
constexpr size_t kWholeLines = 4;

size_t Padding(size_t size) { return (8 - size % 8) % 8; }

// Set bits in a mask of any length, and whether none lies beyond the extent.
bool CountBits(const uint8_t* mask, uint32_t extent, size_t* bits) {
  const size_t size = (static_cast<size_t>(extent) + 7) / 8;
  size_t at = 0;
  for (*bits = 0; at + 8 <= size; at += 8) *bits += static_cast<size_t>(std::popcount(Load<uint64_t>(mask + at)));
  for (; at < size; ++at) *bits += static_cast<size_t>(std::popcount(mask[at]));
  const auto beyond = static_cast<uint8_t>(extent % 8 == 0 ? 0 : 0xff << (extent % 8));
  return (mask[size - 1] & beyond) == 0;
}

// How the lines of a piece are cut into runs.
class Lines {
 public:
  explicit Lines(const Changes& changes)
      : mask_(changes.mask), size_(changes.bytes.size()), lines_(LinesOf(changes.bytes.size())) {}
  size_t count() const { return lines_; }
  bool Empty(size_t line) const { return mask_[line] == 0; }
  bool Whole(size_t line) const {
    const size_t left = size_ - line * kLine;
    return mask_[line] == (left >= kLine ? ~uint64_t{0} : (uint64_t{1} << left) - 1);
  }
  // The first line from `line` on that is not whole.
  size_t EndOfWhole(size_t line) const {
    while (line < lines_ && Whole(line)) ++line;
    return line;
  }
  // Where scattered changes that begin in `line` end.
  size_t EndOfScattered(size_t line) const {
    size_t end = line;  // behind the last line with a change
    for (; line < lines_ && line - end < kEmptyLines; ++line) {
      if (Empty(line)) continue;
      if (Whole(line) && EndOfWhole(line) - line >= kWholeLines) break;
      end = line + 1;
    }
    return end;
  }

 private:
  const uint64_t* const mask_;
  const size_t size_;
  const size_t lines_;
};

}  // namespace

void RunWriter::Begin(ObjectId memory) {
  out_.clear();
  mark_ = BeginRecord(&out_, record_, 0);
  const MemoryRuns head{memory, 0, 0};
  out_.Append(&head, sizeof(head));
  count_ = 0;
  open_ = 0;
}

void RunWriter::Pad() {
  const size_t padding = Padding(out_.size());
  if (padding != 0) std::memset(out_.Append(padding), 0, padding);
}

void RunWriter::Add(uint64_t offset, std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    auto piece = bytes.first(std::min(bytes.size(), kMaxExtent));
    auto run = open_ != 0 ? Load<MemoryRun>(out_.data() + open_) : MemoryRun{};
    if (open_ != 0 && offset == open_end_ && run.extent + piece.size() <= kMaxExtent) {
      run.extent = run.changed = static_cast<uint32_t>(run.extent + piece.size());
      Store(out_.data() + open_, run);
    } else {
      Pad();
      open_ = out_.size();
      run = {offset, static_cast<uint32_t>(piece.size()), static_cast<uint32_t>(piece.size())};
      out_.Append(&run, sizeof(run));
      ++count_;
    }
    out_.Append(piece.data(), piece.size());
    offset += piece.size();
    open_end_ = offset;
    bytes = bytes.subspan(piece.size());
  }
}

void RunWriter::Add(const Changes& changes) {
  const Lines lines(changes);
  for (size_t line = 0; line < lines.count();) {
    if (lines.Empty(line)) {
      ++line;
      continue;
    }
    const size_t whole = lines.EndOfWhole(line);
    if (whole - line >= kWholeLines || (whole == lines.count() && whole != line)) {
      const size_t end = std::min(whole * kLine, changes.bytes.size());
      Add(changes.offset + line * kLine, changes.bytes.subspan(line * kLine, end - line * kLine));
      line = whole;
      continue;
    }
    const size_t end = lines.EndOfScattered(line);
    AddScattered(changes, line, end);
    line = end;
  }
}

// Both the first and the last line have changes.
void RunWriter::AddScattered(const Changes& changes, size_t first_line, size_t end_line) {
  const uint64_t* mask = changes.mask + first_line;
  const size_t lines = end_line - first_line;
  const size_t base = first_line * kLine;
  const auto first = static_cast<size_t>(std::countr_zero(mask[0]));
  const size_t end = lines * kLine - static_cast<size_t>(std::countl_zero(mask[lines - 1]));
  size_t changed = 0;
  for (size_t i = 0; i < lines; ++i) changed += static_cast<size_t>(std::popcount(mask[i]));
  if (changed == end - first) return Add(changes.offset + base + first, changes.bytes.subspan(base + first, changed));
  Pad();
  const size_t start = first / 8 * 8;
  const MemoryRun run{changes.offset + base + start, static_cast<uint32_t>(end - start),
                      static_cast<uint32_t>(changed)};
  out_.Append(&run, sizeof(run));
  out_.Append(reinterpret_cast<const uint8_t*>(mask) + start / 8, (end - start + 7) / 8);
  const size_t size = std::min(lines * kLine, changes.bytes.size() - base);
  const size_t at = out_.size();
  BestChangeKernels().pack(changes.bytes.data() + base, mask, size, out_.Append(size));
  out_.Truncate(at + changed);
  open_ = 0;
  ++count_;
}

std::span<const uint8_t> RunWriter::Finish() {
  Pad();
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
    if (!CountBits(run->mask, head.extent, &bits) || bits != head.changed) return false;
  }
  *rest = body.subspan(std::min(body.size(), size + Padding(size)));
  return true;
}

void PlaceRun(const Run& run, uint8_t* shared, uint8_t* twin) {
  if (run.mask == nullptr) {
    if (run.bytes.empty()) return;
    std::memcpy(shared, run.bytes.data(), run.bytes.size());
    std::memcpy(twin, run.bytes.data(), run.bytes.size());
    return;
  }
  BestChangeKernels().place(run.mask, run.extent, run.bytes.data(), run.bytes.size(), shared, twin);
}

}  // namespace vesper::wire
