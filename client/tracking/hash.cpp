#include "client/tracking/hash.h"

#include "client/tracking/hash_kernels.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace vesper::client {
namespace {

uint64_t HashPlainly(const uint8_t* bytes, size_t size) noexcept { return XXH3_64bits(bytes, size); }

HashKernel* Choose() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  if (__builtin_cpu_supports("avx2")) return HashWithAvx2;
#endif
  return HashPlainly;
}

}  // namespace

uint64_t HashBytes(const uint8_t* bytes, size_t size) noexcept {
  static HashKernel* const kernel = Choose();
  return kernel(bytes, size);
}

}  // namespace vesper::client
