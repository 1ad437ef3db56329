#include "compute/matmul/variants.h"

#include "shaders/cooperative_128x128.h"
#include "shaders/cooperative_128x128_deep.h"
#include "shaders/cooperative_128x64.h"
#include "shaders/registers_128_f16.h"
#include "shaders/registers_128_f32.h"
#include "shaders/registers_128_q4_0.h"
#include "shaders/registers_128_q8_0.h"
#include "shaders/registers_64_f16.h"
#include "shaders/registers_64_f32.h"
#include "shaders/registers_64_q4_0.h"
#include "shaders/registers_64_q8_0.h"
#include "shaders/tiled_f16.h"
#include "shaders/tiled_f32.h"
#include "shaders/tiled_q4_0.h"
#include "shaders/tiled_q8_0.h"

namespace vesper::compute {
namespace {

constexpr MatmulVariant Tiled(ElementType type, std::span<const uint32_t> spirv) {
  return {"tiled", type, spirv, 16, 16, 256, 16 * 33 * 4, false};
}

constexpr MatmulVariant Registers(ElementType type, std::span<const uint32_t> spirv, uint32_t tile) {
  const char* name = tile == 64 ? "registers-64" : "registers-128";
  return {name, type, spirv, tile, tile, 256, 2 * 16 * (tile + 4) * 4, false};
}

// `subgroups` by rows and columns; `stages` tiles of A and B of `depth` each.
constexpr MatmulVariant Cooperative(const char* name, std::span<const uint32_t> spirv, uint32_t tile_m, uint32_t tile_n,
                                    uint32_t subgroups, uint32_t stages, uint32_t depth) {
  const uint32_t operands = stages * (tile_m * (depth + 8) + depth * (tile_n + 8)) * 2;
  return {name, ElementType::kFloat16, spirv, tile_m, tile_n, subgroups * 32, operands + subgroups * 256 * 4, true};
}

constexpr ElementType kF32 = ElementType::kFloat32;
constexpr ElementType kF16 = ElementType::kFloat16;
constexpr ElementType kQ8 = ElementType::kQ8_0;
constexpr ElementType kQ4 = ElementType::kQ4_0;

const MatmulVariant kVariants[] = {
    Tiled(kF32, tiled_f32),
    Registers(kF32, registers_64_f32, 64),
    Registers(kF32, registers_128_f32, 128),
    Tiled(kF16, tiled_f16),
    Registers(kF16, registers_64_f16, 64),
    Registers(kF16, registers_128_f16, 128),
    Cooperative("cooperative-128x64", cooperative_128x64, 128, 64, 4, 2, 32),
    Cooperative("cooperative-128x128", cooperative_128x128, 128, 128, 8, 2, 32),
    Cooperative("cooperative-128x128-deep", cooperative_128x128_deep, 128, 128, 8, 1, 64),
    Tiled(kQ8, tiled_q8_0),
    Registers(kQ8, registers_64_q8_0, 64),
    Registers(kQ8, registers_128_q8_0, 128),
    Tiled(kQ4, tiled_q4_0),
    Registers(kQ4, registers_64_q4_0, 64),
    Registers(kQ4, registers_128_q4_0, 128),
};

}  // namespace

std::span<const MatmulVariant> MatmulVariants() { return kVariants; }

}  // namespace vesper::compute
