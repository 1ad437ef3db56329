// Compiled with -mavx2 (client/CMakeLists.txt). Includes nothing whose inline functions another file may share: the linker
// might keep the copy made here, and other processors would run it.
#include "client/tracking/hash_kernels.h"

#if defined(__AVX2__)
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace vesper::client {

uint64_t HashWithAvx2(const uint8_t* bytes, size_t size) noexcept { return XXH3_64bits(bytes, size); }

}  // namespace vesper::client
#endif
