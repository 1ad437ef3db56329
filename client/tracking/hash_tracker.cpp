#include "client/tracking/hash_tracker.h"

#include <algorithm>

#include "client/base/limits.h"
#include "client/tracking/hash.h"

namespace vesper::client {

HashTracker::HashTracker(uint64_t size) : Tracker(size) {
  if (!valid()) return;
  blocks_.resize(static_cast<size_t>((size + limits::kBlockBytes - 1) / limits::kBlockBytes));
  const Block zeros{HashOf(shadow(), 0), true};
  std::fill(blocks_.begin(), blocks_.end(), zeros);
  if (blocks_.size() > 1) blocks_.back().hash = HashOf(shadow(), blocks_.size() - 1);
}

size_t HashTracker::LengthOf(uint64_t block) const {
  return static_cast<size_t>(std::min<uint64_t>(limits::kBlockBytes, size() - block * limits::kBlockBytes));
}

uint64_t HashTracker::HashOf(const uint8_t* bytes, uint64_t block) const {
  const SharedWithApplication shared;
  return HashBytes(bytes + block * limits::kBlockBytes, LengthOf(block));
}

void HashTracker::CollectRange(uint64_t offset, uint64_t size, const Search& /*search*/, ChangeSink sink) {
  const uint64_t end = offset + size;
  for (uint64_t index = offset / limits::kBlockBytes; index * limits::kBlockBytes < end; ++index) {
    Block& block = blocks_[static_cast<size_t>(index)];
    if (block.known) NoteLooked(LengthOf(index));
    if (block.known && HashOf(shadow(), index) == block.hash) continue;
    const uint64_t begin = std::max(offset, index * limits::kBlockBytes);
    Compare(begin, std::min(end, (index + 1) * limits::kBlockBytes) - begin, sink);
    block = {HashOf(twin(), index), true};
  }
}

void HashTracker::Place(std::span<const wire::Run> runs) {
  Tracker::Place(runs);
  for (const wire::Run& run : runs) {
    if (run.extent == 0) continue;
    const uint64_t last = (run.offset + run.extent - 1) / limits::kBlockBytes;
    for (uint64_t index = run.offset / limits::kBlockBytes; index <= last; ++index) {
      blocks_[static_cast<size_t>(index)].known = false;
    }
  }
}

}  // namespace vesper::client
