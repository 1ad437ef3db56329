#include "runtime/wire/changes.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace vesper::wire {
namespace {

constexpr uint64_t kOnes = 0x0101010101010101u;
constexpr uint64_t kHighs = kOnes << 7;

uint64_t Word(const uint8_t* at) {
  uint64_t word;
  std::memcpy(&word, at, sizeof(word));
  return word;
}

// A bit for each byte of the word that is not zero.
uint64_t NonZeroBytes(uint64_t word) {
  const uint64_t highs = (((word & ~kHighs) + ~kHighs) | word) & kHighs;
  return ((highs >> 7) * 0x0102040810204080u) >> 56;
}

size_t FindLine(const uint8_t* current, uint8_t* known, size_t size, uint8_t* seen, uint64_t* mask) {
  *mask = 0;
  if (std::memcmp(current, known, size) == 0) return 0;
  std::memcpy(seen, current, size);
  size_t at = 0;
  for (; at + 8 <= size; at += 8) *mask |= NonZeroBytes(Word(seen + at) ^ Word(known + at)) << at;
  for (; at < size; ++at) *mask |= uint64_t{seen[at] != known[at]} << at;
  std::memcpy(known, seen, size);
  return static_cast<size_t>(__builtin_popcountll(*mask));
}

size_t Find(const uint8_t* current, uint8_t* known, size_t size, uint8_t* seen, uint64_t* mask) {
  size_t changed = 0;
  for (size_t at = 0; at < size; at += kLine) {
    changed += FindLine(current + at, known + at, std::min(kLine, size - at), seen + at, mask + at / kLine);
  }
  return changed;
}

// Without a branch for each bit: patterns that repeat are rare. A byte that is not wanted is overwritten by the next; that one
// is within what `out` has room for, since fewer bytes than were read have been kept.
size_t Pack(const uint8_t* bytes, const uint64_t* mask, size_t size, uint8_t* out) {
  size_t count = 0;
  for (size_t at = 0; at < size; at += 8) {
    const uint64_t bits = mask[at / kLine] >> (at % kLine) & 0xff;
    if (bits == 0) continue;
    const size_t group = std::min<size_t>(8, size - at);
    if (bits == 0xff) {
      std::memcpy(out + count, bytes + at, 8);
      count += 8;
      continue;
    }
    for (size_t i = 0; i < group; ++i) {
      out[count] = bytes[at + i];
      count += bits >> i & 1;
    }
  }
  return count;
}

void Place(const uint8_t* mask, size_t extent, const uint8_t* packed, size_t packed_size, uint8_t* shared,
           uint8_t* own) {
  size_t taken = 0;
  for (size_t at = 0; at < extent && taken < packed_size; at += 8) {
    unsigned bits = mask[at / 8];
    if (bits == 0xff && extent - at >= 8) {
      std::memcpy(shared + at, packed + taken, 8);
      std::memcpy(own + at, packed + taken, 8);
      taken += 8;
      continue;
    }
    for (; bits != 0; bits &= bits - 1) {
      const size_t to = at + static_cast<size_t>(__builtin_ctz(bits));
      const uint8_t byte = packed[taken++];
      shared[to] = byte;
      own[to] = byte;
    }
  }
}

void Copy(const uint64_t* mask, size_t extent, const uint8_t* bytes, uint8_t* shared) {
  for (size_t at = 0; at < extent; at += 8) {
    uint64_t bits = mask[at / kLine] >> (at % kLine) & 0xff;
    if (bits == 0xff && extent - at >= 8) {
      std::memcpy(shared + at, bytes + at, 8);
      continue;
    }
    for (; bits != 0; bits &= bits - 1) {
      const size_t to = at + static_cast<size_t>(__builtin_ctzll(bits));
      shared[to] = bytes[to];
    }
  }
}

size_t Count(const uint8_t* mask, size_t size) {
  size_t bits = 0;
  size_t at = 0;
  for (; at + 8 <= size; at += 8) bits += static_cast<size_t>(__builtin_popcountll(Word(mask + at)));
  for (; at < size; ++at) bits += static_cast<size_t>(__builtin_popcount(mask[at]));
  return bits;
}

struct Here {
  std::array<const ChangeKernels*, 3> kernels{};
  size_t count = 0;
};

Here Look() noexcept {
  Here here;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("bmi2") &&
      __builtin_cpu_supports("popcnt")) {
    here.kernels[here.count++] = &kAvx512Changes;
  }
#endif
#if defined(__x86_64__) || defined(__i386__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt")) here.kernels[here.count++] = &kAvx2Changes;
#endif
  here.kernels[here.count++] = &kPlainChanges;
  return here;
}

}  // namespace

const ChangeKernels kPlainChanges = {Find, Pack, Place, Copy, Count};

std::span<const ChangeKernels* const> ChangeKernelsHere() noexcept {
  static const Here here = Look();
  return std::span(here.kernels).first(here.count);
}

}  // namespace vesper::wire
