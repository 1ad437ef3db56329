// Compiled with -mavx2 -mpopcnt (runtime/CMakeLists.txt). Includes nothing whose inline functions another file may share: the
// linker might keep the copy made here, and other processors would run it.
#include "runtime/wire/change_kernels.h"

#if defined(__AVX2__)
#include <immintrin.h>

namespace vesper::wire {
namespace {

constexpr size_t kLine = 64;

// For each byte of a mask how a shuffle moves the eight bytes that it stands for.
struct Shuffles {
  alignas(64) uint8_t pack[256][8] = {};    // those with a bit to the front
  alignas(64) uint8_t spread[256][8] = {};  // back to their bits, zeros between
};
constexpr Shuffles MakeShuffles() {
  Shuffles shuffles;
  for (unsigned mask = 0; mask < 256; ++mask) {
    uint8_t count = 0;
    for (unsigned bit = 0; bit < 8; ++bit) {
      shuffles.spread[mask][bit] = 0x80;
      shuffles.pack[mask][bit] = 0x80;
    }
    for (unsigned bit = 0; bit < 8; ++bit) {
      if ((mask >> bit & 1) == 0) continue;
      shuffles.spread[mask][bit] = count;
      shuffles.pack[mask][count++] = static_cast<uint8_t>(bit);
    }
  }
  return shuffles;
}
constexpr Shuffles kShuffles = MakeShuffles();

__m128i Load8(const uint8_t* at) { return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(at)); }
void Store8(uint8_t* at, __m128i value) { _mm_storel_epi64(reinterpret_cast<__m128i*>(at), value); }
__m256i Load32(const uint8_t* at) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)); }
void Store32(uint8_t* at, __m256i value) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), value); }

uint64_t EqualBytes(__m256i a, __m256i b) {
  return static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(a, b)));
}

size_t Find(const uint8_t* current, uint8_t* known, size_t size, uint8_t* seen, uint64_t* mask) {
  size_t changed = 0;
  size_t at = 0;
  for (; at + kLine <= size; at += kLine) {
    const __m256i low = Load32(current + at);
    const __m256i high = Load32(current + at + 32);
    const uint64_t equal = EqualBytes(low, Load32(known + at)) | EqualBytes(high, Load32(known + at + 32)) << 32;
    mask[at / kLine] = ~equal;
    if (equal == ~uint64_t{0}) continue;
    Store32(seen + at, low);
    Store32(seen + at + 32, high);
    Store32(known + at, low);
    Store32(known + at + 32, high);
    changed += static_cast<size_t>(__builtin_popcountll(~equal));
  }
  if (at < size) changed += kPlainChanges.find(current + at, known + at, size - at, seen + at, mask + at / kLine);
  return changed;
}

// Eight bytes are written for each group whatever its count: the groups before left at least as much room.
size_t Pack(const uint8_t* bytes, const uint64_t* mask, size_t size, uint8_t* out) {
  size_t count = 0;
  size_t at = 0;
  for (; at + kLine <= size; at += kLine) {
    uint64_t bits = mask[at / kLine];
    if (bits == ~uint64_t{0}) {
      Store32(out + count, Load32(bytes + at));
      Store32(out + count + 32, Load32(bytes + at + 32));
      count += kLine;
      continue;
    }
    if (bits == 0) continue;
    for (size_t group = at; group < at + kLine; group += 8, bits >>= 8) {
      const uint64_t part = bits & 0xff;
      Store8(out + count, _mm_shuffle_epi8(Load8(bytes + group), Load8(kShuffles.pack[part])));
      count += static_cast<size_t>(__builtin_popcountll(part));
    }
  }
  if (at < size) count += kPlainChanges.pack(bytes + at, mask + at / kLine, size - at, out + count);
  return count;
}

// A byte at a time where not all of a group are there: its neighbours belong to others.
void PlaceGroup(unsigned bits, uint64_t word, uint8_t* shared) {
  for (; bits != 0; bits &= bits - 1) {
    const unsigned to = static_cast<unsigned>(__builtin_ctz(bits));
    shared[to] = static_cast<uint8_t>(word >> (8 * to));
  }
}

void Place(const uint8_t* mask, size_t extent, const uint8_t* packed, size_t packed_size, uint8_t* shared,
           uint8_t* own) {
  size_t taken = 0;
  size_t at = 0;
  for (; at + 8 <= extent && taken + 8 <= packed_size; at += 8) {
    const unsigned bits = mask[at / 8];
    if (bits == 0) continue;
    const __m128i shuffle = Load8(kShuffles.spread[bits]);
    const __m128i bytes = _mm_shuffle_epi8(Load8(packed + taken), shuffle);
    // A shuffle's high bit stands where no byte came.
    Store8(own + at, _mm_blendv_epi8(bytes, Load8(own + at), shuffle));
    if (bits == 0xff) {
      Store8(shared + at, bytes);
    } else {
      uint64_t word;
      _mm_storel_epi64(reinterpret_cast<__m128i*>(&word), bytes);
      PlaceGroup(bits, word, shared + at);
    }
    taken += static_cast<size_t>(__builtin_popcount(bits));
  }
  if (at < extent) {
    kPlainChanges.place(mask + at / 8, extent - at, packed + taken, packed_size - taken, shared + at, own + at);
  }
}

void Copy(const uint64_t* mask, size_t extent, const uint8_t* bytes, uint8_t* shared) {
  size_t at = 0;
  for (; at + kLine <= extent; at += kLine) {
    uint64_t bits = mask[at / kLine];
    if (bits == ~uint64_t{0}) {
      const __m256i low = Load32(bytes + at);
      const __m256i high = Load32(bytes + at + 32);
      Store32(shared + at, low);
      Store32(shared + at + 32, high);
      continue;
    }
    for (size_t group = at; bits != 0; group += 8, bits >>= 8) {
      const auto part = static_cast<unsigned>(bits & 0xff);
      uint64_t word;
      __builtin_memcpy(&word, bytes + group, sizeof(word));
      if (part == 0xff) {
        __builtin_memcpy(shared + group, &word, sizeof(word));
      } else {
        PlaceGroup(part, word, shared + group);
      }
    }
  }
  if (at < extent) kPlainChanges.copy(mask + at / kLine, extent - at, bytes + at, shared + at);
}

size_t Count(const uint8_t* mask, size_t size) {
  size_t bits = 0;
  size_t at = 0;
  for (; at + 8 <= size; at += 8) {
    uint64_t word;
    __builtin_memcpy(&word, mask + at, sizeof(word));
    bits += static_cast<size_t>(__builtin_popcountll(word));
  }
  for (; at < size; ++at) bits += static_cast<size_t>(__builtin_popcount(mask[at]));
  return bits;
}

}  // namespace

const ChangeKernels kAvx2Changes = {Find, Pack, Place, Copy, Count};

}  // namespace vesper::wire
#endif
