// A file in memory that two processes share and neither can pull away from under the other.
#pragma once

#include <cstdint>

#include "runtime/descriptor.h"

namespace vesper {

// `size` bytes of zeros, all there from the start, so that exhaustion is an error here and never a SIGBUS later; sealed against
// any change of its size. Close-on-exec. Invalid when memory or descriptors are exhausted.
Descriptor MakeSealedFile(const char* name, uint64_t size);

// Whether `file` has at least `size` bytes and always will.
bool IsSealed(const Descriptor& file, uint64_t size);

}  // namespace vesper
