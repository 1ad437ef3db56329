// Finding and applying exact byte runs: what changed in mapped memory against the twin that holds
// what the client knows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace vesper::server {

struct ByteRun {
  size_t offset;
  size_t size;
};

// Appends the maximal runs of bytes in which `current` differs from `known`, with `base` added to
// their offsets. Equal bytes are in no run, however short the gap: the peer may be writing them.
void FindRuns(std::span<const uint8_t> current, std::span<const uint8_t> known, size_t base,
              std::vector<ByteRun>* runs);

}  // namespace vesper::server
