// Compiled with -mavx512bw -mavx512vbmi2 -mbmi2 -mpopcnt (runtime/CMakeLists.txt). Includes nothing whose inline functions
// another file may share, as changes_avx2.cpp. A line is one register here, and a masked store writes its bytes alone.
#include "runtime/wire/change_kernels.h"

#if defined(__AVX512VBMI2__) && defined(__x86_64__)
#include <immintrin.h>

namespace vesper::wire {
namespace {

constexpr size_t kLine = 64;
// The processor itself does not look beyond a page.
constexpr size_t kAhead = 1024;

uint64_t Low(size_t count) { return _bzhi_u64(~uint64_t{0}, static_cast<unsigned>(count)); }
size_t Bits(uint64_t mask) { return static_cast<size_t>(__builtin_popcountll(mask)); }

// The mask of up to a line that begins at byte `at` of an extent.
uint64_t MaskAt(const uint8_t* mask, size_t at, size_t extent) {
  uint64_t bits = 0;
  if (extent - at >= kLine) {
    __builtin_memcpy(&bits, mask + at / 8, sizeof(bits));
    return bits;
  }
  for (size_t i = 0; i < (extent - at + 7) / 8; ++i) bits |= uint64_t{mask[at / 8 + i]} << (8 * i);
  return bits;
}

size_t Find(const uint8_t* current, uint8_t* known, size_t size, uint8_t* seen, uint64_t* mask) {
  size_t changed = 0;
  for (size_t at = 0; at < size; at += kLine) {
    const uint64_t there = size - at >= kLine ? ~uint64_t{0} : Low(size - at);
    __builtin_prefetch(current + at + kAhead);
    __builtin_prefetch(known + at + kAhead, 1);
    const __m512i bytes = _mm512_maskz_loadu_epi8(there, current + at);
    const uint64_t differ = _mm512_cmpneq_epi8_mask(bytes, _mm512_maskz_loadu_epi8(there, known + at));
    mask[at / kLine] = differ;
    if (differ == 0) continue;
    _mm512_mask_storeu_epi8(seen + at, there, bytes);
    _mm512_mask_storeu_epi8(known + at, there, bytes);
    changed += Bits(differ);
  }
  return changed;
}

size_t Pack(const uint8_t* bytes, const uint64_t* mask, size_t size, uint8_t* out) {
  size_t count = 0;
  for (size_t at = 0; at < size; at += kLine) {
    const uint64_t bits = mask[at / kLine];
    if (bits == 0) continue;
    const uint64_t there = size - at >= kLine ? ~uint64_t{0} : Low(size - at);
    const __m512i packed = _mm512_maskz_compress_epi8(bits, _mm512_maskz_loadu_epi8(there, bytes + at));
    _mm512_mask_storeu_epi8(out + count, Low(Bits(bits)), packed);
    count += Bits(bits);
  }
  return count;
}

void Place(const uint8_t* mask, size_t extent, const uint8_t* packed, size_t packed_size, uint8_t* shared,
           uint8_t* own) {
  size_t taken = 0;
  for (size_t at = 0; at < extent && taken < packed_size; at += kLine) {
    const uint64_t bits = MaskAt(mask, at, extent);
    const __m512i bytes = _mm512_maskz_expand_epi8(bits, _mm512_maskz_loadu_epi8(Low(Bits(bits)), packed + taken));
    _mm512_mask_storeu_epi8(shared + at, bits, bytes);
    if (own != shared) _mm512_mask_storeu_epi8(own + at, bits, bytes);
    taken += Bits(bits);
  }
}

void Copy(const uint64_t* mask, size_t extent, const uint8_t* bytes, uint8_t* shared) {
  for (size_t at = 0; at < extent; at += kLine) {
    const uint64_t bits = mask[at / kLine];
    _mm512_mask_storeu_epi8(shared + at, bits, _mm512_maskz_loadu_epi8(bits, bytes + at));
  }
}

size_t Count(const uint8_t* mask, size_t size) {
  size_t bits = 0;
  for (size_t at = 0; at < size; at += 8) bits += Bits(MaskAt(mask, 8 * at, 8 * size));
  return bits;
}

}  // namespace

const ChangeKernels kAvx512Changes = {Find, Pack, Place, Copy, Count};

}  // namespace vesper::wire
#endif
