// Finds changes by a 64-bit hash (XXH3) of each block of the shadow: the twin of what never changes is neither read nor
// allocated, so that this reads half of what memcmp does. Needs nothing of the system.
#pragma once

#include <vector>

#include "client/tracking/tracker.h"

namespace vesper::client {

class HashTracker final : public Tracker {
 public:
  explicit HashTracker(uint64_t size);

 protected:
  void CollectRange(uint64_t offset, uint64_t size, const Search& /*search*/, ChangeSink sink) override;
  void Place(std::span<const wire::Run> runs) override;

 private:
  struct Block {
    uint64_t hash;  // of the twin
    bool known;     // false: the twin has changed since
  };
  uint64_t HashOf(const uint8_t* bytes, uint64_t block) const;
  size_t LengthOf(uint64_t block) const;

  std::vector<Block> blocks_;
};

}  // namespace vesper::client
