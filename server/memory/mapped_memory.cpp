#include "server/memory/mapped_memory.h"

#include <fmt/core.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>
#include <utility>

#include "runtime/wire/decoder.h"
#include "runtime/wire/memory_runs.h"
#include "server/base/limits.h"

namespace vesper::server {

static constexpr uint8_t kZeros[limits::kScanBlock] = {};

MappedMemory::~MappedMemory() {
  if (twin_ != nullptr) munmap(twin_, memory_.size);
}

bool MappedMemory::Check(const wire::MemoryRange& range, const char* what, std::string* error) const {
  if (range.offset <= memory_.size && range.size <= memory_.size - range.offset) return true;
  *error = fmt::format("{} of {} bytes at {} of {}", what, range.size, range.offset, memory_.size);
  return false;
}

bool MappedMemory::Map() {
  if (retired_) return false;
  if (mapping_ != nullptr) return true;
  if (needs_twin_ && !MakeTwin()) return false;
  void* mapping = nullptr;
  if (memory_.table->MapMemory(memory_.device, memory_.memory, 0, VK_WHOLE_SIZE, 0, &mapping) != VK_SUCCESS) {
    return false;
  }
  mapping_ = static_cast<uint8_t*>(mapping);
  return true;
}

bool MappedMemory::MakeTwin() {
  if (twin_ != nullptr) return true;
  void* twin = mmap(nullptr, memory_.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (twin == MAP_FAILED) return false;
  twin_ = static_cast<uint8_t*>(twin);
  return true;
}

void MappedMemory::NeedTwin() {
  if (std::exchange(needs_twin_, true) || mapping_ == nullptr) return;
  if (!MakeTwin()) throw std::bad_alloc();
  for (uint64_t at = 0; at < memory_.size; at += limits::kScanBlock) {
    const auto block = static_cast<size_t>(std::min<uint64_t>(limits::kScanBlock, memory_.size - at));
    // Pages of zeros stay without memory.
    if (std::memcmp(mapping_ + at, kZeros, block) != 0) std::memcpy(twin_ + at, mapping_ + at, block);
  }
}

VkMappedMemoryRange MappedMemory::Rounded(uint64_t offset, uint64_t size) const {
  const uint64_t atom = std::max<uint64_t>(memory_.atom, 1);
  const uint64_t begin = offset / atom * atom;
  const uint64_t end = (offset + size + atom - 1) / atom * atom;
  return {VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE, nullptr, memory_.memory, begin,
          end >= memory_.size ? VK_WHOLE_SIZE : end - begin};
}

// What the client takes for zeros must be zeros here: it sends only what differs.
void MappedMemory::Clear() {
  for (uint64_t at = 0; at < memory_.size; at += limits::kScanBlock) {
    const auto block = static_cast<size_t>(std::min<uint64_t>(limits::kScanBlock, memory_.size - at));
    // Pages that were never touched stay so.
    if (!memory_.cached || std::memcmp(mapping_ + at, kZeros, block) != 0) std::memset(mapping_ + at, 0, block);
  }
  if (memory_.flushed) {
    const VkMappedMemoryRange all = Rounded(0, memory_.size);
    memory_.table->FlushMappedMemoryRanges(memory_.device, 1, &all);
  }
}

bool MappedMemory::AddRange(const wire::MemoryMapping& mapping, std::string* error) {
  if (!Check(mapping.range, "a mapping", error)) return false;
  const MutexLock lock(mutex_);
  if (mapping.fresh != 0 && mapping_ == nullptr && Map()) Clear();
  ranges_.push_back(mapping.range);
  followed_ = false;
  return true;
}

bool MappedMemory::RemoveRange(const wire::MemoryRange& range, std::string* error) {
  if (!Check(range, "an unmapping", error)) return false;
  const MutexLock lock(mutex_);
  const auto same = [&](const wire::MemoryRange& r) { return r.offset == range.offset && r.size == range.size; };
  const auto found = std::find_if(ranges_.begin(), ranges_.end(), same);
  if (found != ranges_.end()) ranges_.erase(found);
  return true;
}

bool MappedMemory::AddWritable(const wire::MemoryRange& range, std::string* error) {
  if (!Check(range, "a writable range", error)) return false;
  const MutexLock lock(mutex_);
  NeedTwin();
  writable_.Add(range.offset, range.offset + range.size);
  return true;
}

bool MappedMemory::Write(uint32_t count, std::span<const uint8_t> runs, std::string* error) {
  const MutexLock lock(mutex_);
  const bool mapped = Map();
  std::vector<VkMappedMemoryRange> flushes;
  for (uint32_t i = 0; i < count; ++i) {
    wire::Run run;
    if (!wire::NextRun(&runs, &run)) {
      *error = fmt::format("{} memory runs announced, {} well-formed", count, i);
      return false;
    }
    if (!Check({memory_.id, run.offset, run.extent}, "a write", error)) return false;
    if (!mapped || run.extent == 0) continue;
    wire::PlaceRun(run, mapping_ + run.offset, twin_ == nullptr ? nullptr : twin_ + run.offset);
    if (memory_.flushed) flushes.push_back(Rounded(run.offset, run.extent));
  }
  if (!flushes.empty()) {
    memory_.table->FlushMappedMemoryRanges(memory_.device, static_cast<uint32_t>(flushes.size()), flushes.data());
  }
  return true;
}

bool MappedMemory::Watched() {
  const MutexLock lock(mutex_);
  for (const wire::MemoryRange& range : ranges_) {
    if (writable_.Intersects(range.offset, range.offset + range.size)) return true;
  }
  return false;
}

bool MappedMemory::Mapped() {
  const MutexLock lock(mutex_);
  return !ranges_.empty();
}

bool MappedMemory::Followed() {
  const MutexLock lock(mutex_);
  return std::exchange(followed_, true);
}

uint64_t MappedMemory::Scan(Events* events, const WriteSet& set, const Look& look, uint64_t* found) {
  const auto written = set.ranges.find(memory_.memory);
  const bool all = set.everything || memory_.foreign;
  if (!all && written == set.ranges.end()) return 0;
  RangeSet watched;
  bool pictures = false;
  const auto watch = [&watched](uint64_t begin, uint64_t end) { watched.Add(begin, end); };
  {
    const MutexLock lock(mutex_);
    pictures = pictures_ != nullptr;
    for (const wire::MemoryRange& range : ranges_) {
      writable_.ForEachIn(range.offset, range.offset + range.size, [&](uint64_t begin, uint64_t end) {
        if (all) {
          watch(begin, end);
        } else {
          written->second.ForEachIn(begin, end, watch);
        }
      });
    }
  }
  uint64_t compared = 0;
  if (pictures) *found += ScanPictures(watched, events);
  watched.ForEachIn(0, memory_.size, [&](uint64_t begin, uint64_t end) {
    compared += end - begin;
    if (pictures) return;
    *found += ScanRange(begin, end - begin, events, look);
  });
  return compared;
}

bool MappedMemory::Fetch(const wire::MemoryRange& range, Events* events, std::string* error) {
  if (!Check(range, "a fetch", error)) return false;
  ScanRange(range.offset, range.size, events, {});
  return true;
}

uint64_t MappedMemory::ScanRange(uint64_t offset, uint64_t size, Events* events, const Look& look) {
  uint64_t changed = 0;
  while (size != 0) {
    events->AwaitRoom();
    const size_t lines = events->Piece(limits::kScanPiece) / wire::kLine * wire::kLine;
    const size_t piece = static_cast<size_t>(std::min<uint64_t>(size, lines));
    const MutexLock lock(mutex_);
    needs_twin_ = true;
    if (!Map() || !MakeTwin()) return changed;
    changed += ScanPiece(offset, piece, events, look);
    offset += piece;
    size -= piece;
  }
  return changed;
}

bool MappedMemory::HoldPictures(const wire::PictureMemory& pictures, std::string* error) {
  const uint64_t size = uint64_t{pictures.width} * pictures.height * NearPictures::kPixel;
  const bool possible = pictures.count != 0 && pictures.width != 0 && pictures.height != 0 &&
                        pictures.width <= kMaxPictureSide && pictures.height <= kMaxPictureSide &&
                        pictures.count <= kMaxPictures && size <= pictures.stride &&
                        pictures.stride <= memory_.size / pictures.count;
  if (!possible) {
    *error = fmt::format("{} pictures of {}x{} in {} bytes", pictures.count, pictures.width, pictures.height, memory_.size);
    return false;
  }
  const MutexLock lock(mutex_);
  pictures_ = std::make_shared<NearPictures>(pictures);
  return true;
}

void MappedMemory::PicturePresented(uint64_t offset) {
  const MutexLock lock(mutex_);
  if (pictures_ != nullptr) pictures_->Presented(offset);
}

// Of each picture that may have changed, row by row of tiles.
uint64_t MappedMemory::ScanPictures(const RangeSet& watched, Events* events) {
  std::shared_ptr<NearPictures> pictures;
  {
    const MutexLock lock(mutex_);
    pictures = pictures_;
  }
  uint64_t sent = 0;
  for (uint32_t index = 0; index < pictures->of().count; ++index) {
    const uint64_t begin = pictures->OffsetOf(index, 0);
    if (!watched.Intersects(begin, begin + pictures->RowBytes() * pictures->of().height)) continue;
    {
      const MutexLock lock(mutex_);
      pictures->Begin(index);
    }
    for (uint32_t y = 0; y < pictures->of().height; y += NearPictures::kTile) {
      events->AwaitRoom();
      const uint64_t offset = pictures->OffsetOf(index, y);
      const size_t size = pictures->RowBytes() * pictures->RowsAt(y);
      const MutexLock lock(mutex_);
      needs_twin_ = true;
      if (!Map() || !MakeTwin()) return sent;
      if (memory_.flushed) {
        const VkMappedMemoryRange range = Rounded(offset, size);
        memory_.table->InvalidateMappedMemoryRanges(memory_.device, 1, &range);
      }
      sent += pictures->SendRow(index, y, mapping_ + offset, twin_ + offset, events);
    }
  }
  return sent;
}

uint64_t MappedMemory::ScanPiece(uint64_t offset, size_t size, Events* events, const Look& look) {
  if (memory_.flushed) {
    const VkMappedMemoryRange range = Rounded(offset, size);
    memory_.table->InvalidateMappedMemoryRanges(memory_.device, 1, &range);
  }
  snapshot_.resize(limits::kScanPiece);
  mask_.resize(wire::LinesOf(limits::kScanPiece));
  size_t changed = wire::FindChanges(mapping_ + offset, twin_ + offset, size, snapshot_.data(), mask_.data());
  if (changed == 0) return 0;
  const wire::Changes found{offset, std::span(snapshot_).first(size), mask_.data()};
  if (look.small != Small::kSend) {
    changed -= SetSmallAside(found, look.late);
  }
  for (size_t line = 0; look.changed != nullptr && line < wire::LinesOf(size); ++line) {
    if (mask_[line] != 0) look.changed->Add(offset + line * wire::kLine, offset + (line + 1) * wire::kLine);
  }
  // Sent under the lock, so that changes of one byte reach the client in the order in which they were found.
  if (changed != 0) events->MemoryChanged(memory_.id, found);
  return changed;
}

// Takes changes that stand alone off the mask. Those within a line are near each other, and to those of the next line only
// the last of them may be.
size_t MappedMemory::SetSmallAside(const wire::Changes& found, std::vector<LateBytes>* late) {
  size_t aside = 0;
  const size_t lines = wire::LinesOf(found.bytes.size());
  const std::span<const uint64_t> mask(mask_);
  const auto begin_in = [mask](size_t line) {
    return line * wire::kLine + static_cast<size_t>(std::countr_zero(mask[line]));
  };
  const auto end_in = [mask](size_t line) {
    return (line + 1) * wire::kLine - static_cast<size_t>(std::countl_zero(mask[line]));
  };
  for (size_t line = 0; line < lines;) {
    if (mask[line] == 0) {
      ++line;
      continue;
    }
    const size_t first = line;
    size_t last = line;
    for (++line; line < lines && line <= last + 1; ++line) {
      if (mask[line] == 0) continue;
      if (begin_in(line) - end_in(last) >= limits::kAlone) break;
      last = line;
    }
    if (end_in(last) - begin_in(first) <= limits::kAlone) aside += SetAside(found, first, last - first + 1, late);
  }
  return aside;
}

// One such group, of at most two lines.
size_t MappedMemory::SetAside(const wire::Changes& found, size_t first_line, size_t lines,
                              std::vector<LateBytes>* late) {
  if (late->size() >= limits::kMaxLate) return 0;  // too many to be flags
  const size_t begin = first_line * wire::kLine;
  const size_t size = std::min(lines * wire::kLine, found.bytes.size() - begin);
  uint64_t* const mask = mask_.data() + first_line;
  uint8_t* const seen = snapshot_.data() + begin;
  LateBytes held{memory_.id, found.offset + begin, size, {}, {}};
  std::memcpy(held.bytes.data(), seen, size);
  std::copy_n(mask, lines, held.mask.begin());
  late->push_back(held);
  std::fill_n(mask, lines, uint64_t{0});
  const auto* const bits = reinterpret_cast<const uint8_t*>(held.mask.data());
  return wire::BestChangeKernels().count(bits, lines * sizeof(uint64_t));
}

void MappedMemory::Retire() {
  const MutexLock lock(mutex_);
  retired_ = true;
  ranges_.clear();
}

}  // namespace vesper::server
