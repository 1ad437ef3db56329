#include "runtime/wire/memory_runs.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "runtime/wire/decoder.h"
#include "runtime/wire/record.h"

namespace vesper::wire {
namespace {

constexpr size_t kMaxExtent = 64 * 1024;
// A header costs about as much as the mask of two lines: so many without a change, or four dense ones, end a mask.
constexpr size_t kEmptyLines = 2;
constexpr size_t kDenseLines = 4;
// A hole costs three bytes (its own, and to say where it is), a line of a mask eight. Holes are much cheaper to apply.
constexpr int kMostHoles = 4;

size_t Padding(size_t size) { return (8 - size % 8) % 8; }

// Set bits in a mask of any length, and whether none lies beyond the extent.
bool CountBits(const uint8_t* mask, uint32_t extent, size_t* bits) {
  const size_t size = (static_cast<size_t>(extent) + 7) / 8;
  *bits = BestChangeKernels().count(mask, size);
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
  // Whether hardly a byte of it did not change.
  bool Dense(size_t line) const {
    const size_t left = size_ - line * kLine;
    uint64_t holes = ~mask_[line] & (left >= kLine ? ~uint64_t{0} : (uint64_t{1} << left) - 1);
    for (int i = 0; i < kMostHoles; ++i) holes &= holes - 1;
    return holes == 0;
  }
  // The first line from `line` on that is not dense.
  size_t EndOfDense(size_t line) const {
    while (line < lines_ && !Empty(line) && Dense(line)) ++line;
    return line;
  }
  // Where scattered changes that begin in `line` end.
  size_t EndOfScattered(size_t line) const {
    size_t end = line;  // behind the last line with a change
    for (; line < lines_ && line - end < kEmptyLines; ++line) {
      if (Empty(line)) continue;
      if (Dense(line) && EndOfDense(line) - line >= kDenseLines) break;
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
  holes_.clear();
}

void RunWriter::Pad() {
  const size_t padding = Padding(out_.size());
  if (padding != 0) std::memset(out_.Append(padding), 0, padding);
}

// Nothing joins the last run any more.
void RunWriter::Close() {
  if (open_ != 0 && !holes_.empty()) {
    auto run = Load<MemoryRun>(out_.data() + open_);
    run.changed = kHoles | static_cast<uint32_t>(holes_.size() / sizeof(uint16_t));
    Store(out_.data() + open_, run);
    out_.Append(holes_.data(), holes_.size());
  }
  holes_.clear();
  open_ = 0;
  Pad();
}

// Puts as many of the bytes, from the front, into one run as it takes, and returns their number.
size_t RunWriter::Join(uint64_t offset, std::span<const uint8_t> bytes) {
  const size_t size = std::min(bytes.size(), kMaxExtent);
  auto run = open_ != 0 ? Load<MemoryRun>(out_.data() + open_) : MemoryRun{};
  if (open_ != 0 && offset == open_end_ && run.extent + size <= kMaxExtent) {
    run.extent = run.changed = static_cast<uint32_t>(run.extent + size);
    Store(out_.data() + open_, run);
  } else {
    Close();
    open_ = out_.size();
    run = {offset, static_cast<uint32_t>(size), static_cast<uint32_t>(size)};
    out_.Append(&run, sizeof(run));
    ++count_;
  }
  out_.Append(bytes.data(), size);
  open_end_ = offset + size;
  return size;
}

void RunWriter::Add(uint64_t offset, std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const size_t size = Join(offset, bytes);
    offset += size;
    bytes = bytes.subspan(size);
  }
}

void RunWriter::Add(const Changes& changes) {
  const Lines lines(changes);
  for (size_t line = 0; line < lines.count();) {
    if (lines.Empty(line)) {
      ++line;
      continue;
    }
    size_t end = lines.EndOfDense(line);
    if (end - line >= kDenseLines || (end == lines.count() && end != line)) {
      AddDense(changes, line, end);
    } else {
      end = lines.EndOfScattered(line);
      AddScattered(changes, line, end);
    }
    line = end;
  }
}

// From the first to the last byte that changed.
void RunWriter::AddDense(const Changes& changes, size_t first_line, size_t end_line) {
  size_t begin = first_line * kLine + static_cast<size_t>(std::countr_zero(changes.mask[first_line]));
  const size_t end = end_line * kLine - static_cast<size_t>(std::countl_zero(changes.mask[end_line - 1]));
  while (begin < end) {
    const size_t size = Join(changes.offset + begin, changes.bytes.subspan(begin, end - begin));
    AddHoles(changes, begin, begin + size);
    begin += size;
  }
}

// After Join() of these bytes.
void RunWriter::AddHoles(const Changes& changes, size_t begin, size_t end) {
  const uint64_t run_begin = Load<MemoryRun>(out_.data() + open_).offset;
  for (size_t line = begin / kLine; line * kLine < end; ++line) {
    uint64_t holes = ~changes.mask[line];
    if (holes == 0) continue;
    if (line == begin / kLine) holes &= ~uint64_t{0} << (begin % kLine);
    if (end - line * kLine < kLine) holes &= (uint64_t{1} << (end % kLine)) - 1;
    const auto first = static_cast<uint16_t>(changes.offset + line * kLine - run_begin);
    const size_t size = holes_.size();
    uint8_t* at = holes_.Append(kLine * sizeof(first));
    uint8_t* const start = at;
    for (; holes != 0; holes &= holes - 1, at += sizeof(first)) {
      Store(at, static_cast<uint16_t>(first + std::countr_zero(holes)));
    }
    holes_.Truncate(size + static_cast<size_t>(at - start));
  }
}

// Both the first and the last line have changes.
void RunWriter::AddScattered(const Changes& changes, size_t first_line, size_t end_line) {
  const uint64_t* mask = changes.mask + first_line;
  const size_t lines = end_line - first_line;
  const size_t base = first_line * kLine;
  const auto first = static_cast<size_t>(std::countr_zero(mask[0]));
  const size_t end = lines * kLine - static_cast<size_t>(std::countl_zero(mask[lines - 1]));
  const size_t changed =
      BestChangeKernels().count(reinterpret_cast<const uint8_t*>(mask), lines * sizeof(uint64_t));
  if (changed == end - first) return Add(changes.offset + base + first, changes.bytes.subspan(base + first, changed));
  Close();
  const size_t start = first / 8 * 8;
  const MemoryRun run{changes.offset + base + start, static_cast<uint32_t>(end - start),
                      static_cast<uint32_t>(changed)};
  out_.Append(&run, sizeof(run));
  out_.Append(reinterpret_cast<const uint8_t*>(mask) + start / 8, (end - start + 7) / 8);
  const size_t size = std::min(lines * kLine, changes.bytes.size() - base);
  const size_t at = out_.size();
  BestChangeKernels().pack(changes.bytes.data() + base, mask, size, out_.Append(size));
  out_.Truncate(at + changed);
  ++count_;
}

std::span<const uint8_t> RunWriter::Finish() {
  Close();
  Store(out_.data() + mark_ + sizeof(RecordHeader) + offsetof(MemoryRuns, count), count_);
  if (!EndRecord(&out_, mark_)) out_.clear();
  return {out_.data(), out_.size()};
}

// The rest of a run with holes, which `body` begins with. Returns how many bytes it takes, 0 when it is malformed.
static size_t ReadHoles(const MemoryRun& head, std::span<const uint8_t> body, Run* run) {
  const size_t count = head.changed & ~kHoles;
  const size_t size = head.extent + count * sizeof(uint16_t);
  if (head.extent > kMaxExtent || count > head.extent || size > body.size()) return 0;
  *run = {head.offset, head.extent, nullptr, body.first(head.extent), body.subspan(head.extent, size - head.extent)};
  for (size_t i = 0; i < count; ++i) {
    if (run->hole(i) >= head.extent || (i != 0 && run->hole(i) <= run->hole(i - 1))) return 0;
  }
  return size;
}

bool NextRun(std::span<const uint8_t>* rest, Run* run) {
  if (rest->size() < sizeof(MemoryRun)) return false;
  const auto head = Load<MemoryRun>(rest->data());
  const auto body = rest->subspan(sizeof(head));
  size_t size = 0;
  if ((head.changed & kHoles) != 0) {
    size = ReadHoles(head, body, run);
    if (size == 0) return false;
  } else {
    const size_t mask_size = head.changed == head.extent ? 0 : (static_cast<size_t>(head.extent) + 7) / 8;
    size = mask_size + head.changed;
    if (head.changed > head.extent || size > body.size()) return false;
    *run = {head.offset, head.extent, mask_size == 0 ? nullptr : body.data(), body.subspan(mask_size, head.changed)};
  }
  if (run->mask != nullptr) {
    size_t bits = 0;
    if (!CountBits(run->mask, head.extent, &bits) || bits != head.changed) return false;
  }
  *rest = body.subspan(std::min(body.size(), size + Padding(size)));
  return true;
}

// All of a run but its holes, a piece after the other. The twin is nobody else's, so that the bytes in its holes may be kept aside
// meanwhile: memory is written faster as a whole.
static void PlaceAround(const Run& run, uint8_t* shared, uint8_t* twin) {
  constexpr size_t kPiece = 4096;
  std::array<uint64_t, LinesOf(kPiece)> mask;
  std::array<uint8_t, kPiece> kept;
  size_t hole = 0;
  size_t fetched = 0;
  for (size_t at = 0; at < run.bytes.size(); at += kPiece) {
    for (; twin != nullptr && fetched < run.hole_count() && run.hole(fetched) < at + 2 * kPiece; ++fetched) {
      __builtin_prefetch(twin + run.hole(fetched));
    }
    const size_t size = std::min(kPiece, run.bytes.size() - at);
    const uint8_t* const bytes = run.bytes.data() + at;
    const size_t first = hole;
    mask.fill(~uint64_t{0});
    if (size % kLine != 0) mask[size / kLine] = (uint64_t{1} << size % kLine) - 1;
    for (; hole < run.hole_count() && run.hole(hole) < at + size; ++hole) {
      const size_t place = run.hole(hole) - at;
      mask[place / kLine] &= ~(uint64_t{1} << place % kLine);
      if (twin != nullptr) kept[hole - first] = twin[at + place];
    }
    BestChangeKernels().copy(mask.data(), size, bytes, shared + at);
    if (twin == nullptr) continue;
    std::memcpy(twin + at, bytes, size);
    for (size_t i = first; i < hole; ++i) twin[run.hole(i)] = kept[i - first];
  }
}

void PlaceRun(const Run& run, uint8_t* shared, uint8_t* twin) {
  if (run.mask != nullptr) {
    BestChangeKernels().place(run.mask, run.extent, run.bytes.data(), run.bytes.size(), shared,
                              twin == nullptr ? shared : twin);
  } else if (run.hole_count() != 0) {
    PlaceAround(run, shared, twin);
  } else {
    std::memcpy(shared, run.bytes.data(), run.bytes.size());
    if (twin != nullptr) std::memcpy(twin, run.bytes.data(), run.bytes.size());
  }
}

}  // namespace vesper::wire
