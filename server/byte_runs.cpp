#include "server/byte_runs.h"

#include <bit>
#include <cstring>

namespace vesper::server {
namespace {

uint64_t Word(const uint8_t* at) {
  uint64_t word;
  std::memcpy(&word, at, sizeof(word));
  return word;
}

// The first offset from `from` where the two differ, or `size`.
size_t FindDifference(const uint8_t* a, const uint8_t* b, size_t from, size_t size) {
  while (size - from >= 256 && std::memcmp(a + from, b + from, 256) == 0) from += 256;
  for (; size - from >= 8; from += 8) {
    const uint64_t difference = Word(a + from) ^ Word(b + from);
    if (difference != 0) return from + static_cast<size_t>(std::countr_zero(difference)) / 8;
  }
  while (from < size && a[from] == b[from]) ++from;
  return from;
}

// The first offset from `from` where the two agree, or `size`.
size_t FindAgreement(const uint8_t* a, const uint8_t* b, size_t from, size_t size) {
  constexpr uint64_t kOnes = 0x0101010101010101u;
  for (; size - from >= 8; from += 8) {
    const uint64_t difference = Word(a + from) ^ Word(b + from);
    const uint64_t zero_bytes = (difference - kOnes) & ~difference & (kOnes << 7);
    if (zero_bytes != 0) return from + static_cast<size_t>(std::countr_zero(zero_bytes)) / 8;
  }
  while (from < size && a[from] != b[from]) ++from;
  return from;
}

}  // namespace

void FindRuns(std::span<const uint8_t> current, std::span<const uint8_t> known, size_t base,
              std::vector<ByteRun>* runs) {
  const size_t size = current.size();
  size_t at = 0;
  while ((at = FindDifference(current.data(), known.data(), at, size)) < size) {
    const size_t end = FindAgreement(current.data(), known.data(), at, size);
    runs->push_back({base + at, end - at});
    at = end;
  }
}

}  // namespace vesper::server
