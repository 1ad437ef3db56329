#include "client/memory/hash_tracker.h"

#include <algorithm>

#include "client/memory/hash.h"

namespace vesper::client {

HashTracker::HashTracker(uint64_t size) : Tracker(size) {
  if (!valid()) return;
  blocks_.resize(static_cast<size_t>((size + kBlock - 1) / kBlock));
  const Block zeros{HashOf(shadow(), 0), true};
  std::fill(blocks_.begin(), blocks_.end(), zeros);
  if (blocks_.size() > 1) blocks_.back().hash = HashOf(shadow(), blocks_.size() - 1);
}

size_t HashTracker::LengthOf(uint64_t block) const {
  return static_cast<size_t>(std::min<uint64_t>(kBlock, size() - block * kBlock));
}

uint64_t HashTracker::HashOf(const uint8_t* bytes, uint64_t block) const {
  const SharedWithApplication shared;
  return HashBytes(bytes + block * kBlock, LengthOf(block));
}

void HashTracker::CollectRange(uint64_t offset, uint64_t size, RunSink sink) {
  const uint64_t end = offset + size;
  for (uint64_t index = offset / kBlock; index * kBlock < end; ++index) {
    Block& block = blocks_[static_cast<size_t>(index)];
    if (block.known && HashOf(shadow(), index) == block.hash) continue;
    const uint64_t begin = std::max(offset, index * kBlock);
    Compare(begin, std::min(end, (index + 1) * kBlock) - begin, sink);
    block = {HashOf(twin(), index), true};
  }
}

void HashTracker::Applied(uint64_t offset, size_t size) {
  if (size == 0) return;
  for (uint64_t index = offset / kBlock; index <= (offset + size - 1) / kBlock; ++index) {
    blocks_[static_cast<size_t>(index)].known = false;
  }
}

}  // namespace vesper::client
