// The compiled shaders and what each can do.
#pragma once

#include <cstdint>
#include <span>

#include "vesper/compute/matmul.h"

namespace vesper::compute {

struct MatmulVariant {
  const char* name;
  ElementType type;
  std::span<const uint32_t> spirv;
  uint32_t tile_m;  // of C, made by one work-group
  uint32_t tile_n;
  uint32_t invocations;
  uint32_t shared_bytes;
  bool cooperative;  // VK_NV_cooperative_matrix, 16×16×16, subgroups of 32; K and N multiples of 8
};

// All of them; of each type "tiled" first.
std::span<const MatmulVariant> MatmulVariants();

}  // namespace vesper::compute
