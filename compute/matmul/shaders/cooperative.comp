#version 450
#pragma use_vulkan_memory_model
#extension GL_NV_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_EXT_control_flow_attributes : require
// C = A B of float16 with sums in float32, by cooperative matrices of 16×16×16 (VK_NV_cooperative_matrix, subgroup scope).
// SUBGROUPS_M × SUBGROUPS_N subgroups of 32 make a tile of TILE_M × TILE_N, each a part of it of ROWS × COLUMNS matrices; tiles
// of A and B pass through shared memory, the next ones are on their way meanwhile. Work-groups go through C in bands, so that
// those at work at the same time share what they read. K and N are multiples of 8, so that eight elements are
// read at once; what lies beyond the matrices is 0. A is M×K, B K×N, C M×N, row by row.
// STAGES (1 or 2) tiles of DEPTH along K lie in shared memory at the same time.
#define BAND 8
#define THREADS (SUBGROUPS_M * SUBGROUPS_N * 32)
#define ROWS (TILE_M / SUBGROUPS_M / 16)
#define COLUMNS (TILE_N / SUBGROUPS_N / 16)
#define STRIDE_A (DEPTH / 8 + 1)
#define STRIDE_B (TILE_N / 8 + 1)
#define LOADS_A (TILE_M * DEPTH / 8 / THREADS)
#define LOADS_B (TILE_N * DEPTH / 8 / THREADS)
layout(local_size_x = THREADS) in;
layout(push_constant) uniform Sizes {
  uint m;
  uint n;
  uint k;
} size;
layout(set = 0, binding = 0) readonly buffer MatrixA { uvec4 a[]; };
layout(set = 0, binding = 1) readonly buffer MatrixB { uvec4 b[]; };
layout(set = 0, binding = 2) writeonly buffer MatrixC { float c[]; };
shared uvec4 tile_a[STAGES * TILE_M * STRIDE_A];
shared uvec4 tile_b[STAGES * DEPTH * STRIDE_B];
shared float edge[SUBGROUPS_M * SUBGROUPS_N][256];

uvec4 LoadA(uint row, uint column) {
  return row < size.m && column < size.k ? a[(row * size.k + column) / 8u] : uvec4(0);
}
uvec4 LoadB(uint row, uint column) {
  return row < size.k && column < size.n ? b[(row * size.n + column) / 8u] : uvec4(0);
}

void main() {
  const uint thread = gl_LocalInvocationID.x;
  const uint across = gl_NumWorkGroups.x;
  const uint group = gl_WorkGroupID.y * across + gl_WorkGroupID.x;
  const uint band = group / (BAND * across);
  const uint band_rows = min(BAND, gl_NumWorkGroups.y - band * BAND);
  const uint row0 = (band * BAND + group % (BAND * across) % band_rows) * TILE_M;
  const uint column0 = group % (BAND * across) / band_rows * TILE_N;
  const uint subgroup_row = gl_SubgroupID / SUBGROUPS_N * ROWS * 16u;
  const uint subgroup_column = gl_SubgroupID % SUBGROUPS_N * COLUMNS * 16u;
  uvec4 next_a[LOADS_A];
  uvec4 next_b[LOADS_B];
  fcoopmatNV<32, gl_ScopeSubgroup, 16, 16> sums[ROWS][COLUMNS];
  [[unroll]] for (uint i = 0; i < ROWS; ++i)
    [[unroll]] for (uint j = 0; j < COLUMNS; ++j) sums[i][j] = fcoopmatNV<32, gl_ScopeSubgroup, 16, 16>(0.0);

  [[unroll]] for (uint i = 0; i < LOADS_A; ++i) {
    const uint at = thread + i * THREADS;
    next_a[i] = LoadA(row0 + at / (DEPTH / 8), at % (DEPTH / 8) * 8u);
  }
  [[unroll]] for (uint i = 0; i < LOADS_B; ++i) {
    const uint at = thread + i * THREADS;
    next_b[i] = LoadB(at / (TILE_N / 8), column0 + at % (TILE_N / 8) * 8u);
  }
  uint stage = 0;
  for (uint k = 0; k < size.k; k += DEPTH) {
    const uint stage_a = stage * TILE_M * STRIDE_A;
    const uint stage_b = stage * DEPTH * STRIDE_B;
    stage = (stage + 1) % STAGES;
    [[unroll]] for (uint i = 0; i < LOADS_A; ++i) {
      const uint at = thread + i * THREADS;
      tile_a[stage_a + at / (DEPTH / 8) * STRIDE_A + at % (DEPTH / 8)] = next_a[i];
    }
    [[unroll]] for (uint i = 0; i < LOADS_B; ++i) {
      const uint at = thread + i * THREADS;
      tile_b[stage_b + at / (TILE_N / 8) * STRIDE_B + at % (TILE_N / 8)] = next_b[i];
    }
    barrier();
    if (k + DEPTH < size.k) {
      [[unroll]] for (uint i = 0; i < LOADS_A; ++i) {
        const uint at = thread + i * THREADS;
        next_a[i] = LoadA(row0 + at / (DEPTH / 8), k + DEPTH + at % (DEPTH / 8) * 8u);
      }
      [[unroll]] for (uint i = 0; i < LOADS_B; ++i) {
        const uint at = thread + i * THREADS;
        next_b[i] = LoadB(k + DEPTH + at / (TILE_N / 8), column0 + at % (TILE_N / 8) * 8u);
      }
    }
    [[unroll]] for (uint depth = 0; depth < DEPTH; depth += 16u) {
      fcoopmatNV<16, gl_ScopeSubgroup, 16, 16> left[ROWS];
      [[unroll]] for (uint i = 0; i < ROWS; ++i) {
        coopMatLoadNV(left[i], tile_a, stage_a + (subgroup_row + i * 16u) * STRIDE_A + depth / 8u, STRIDE_A, false);
      }
      [[unroll]] for (uint j = 0; j < COLUMNS; ++j) {
        fcoopmatNV<16, gl_ScopeSubgroup, 16, 16> right;
        coopMatLoadNV(right, tile_b, stage_b + depth * STRIDE_B + (subgroup_column + j * 16u) / 8u, STRIDE_B, false);
        [[unroll]] for (uint i = 0; i < ROWS; ++i) sums[i][j] = coopMatMulAddNV(left[i], right, sums[i][j]);
      }
    }
    // With two stages, whoever fills one again has passed the barrier that follows its last use.
    if (STAGES == 1) barrier();
  }
  [[unroll]] for (uint i = 0; i < ROWS; ++i) {
    [[unroll]] for (uint j = 0; j < COLUMNS; ++j) {
      const uint row = row0 + subgroup_row + i * 16u;
      const uint column = column0 + subgroup_column + j * 16u;
      if (row + 16u <= size.m && column + 16u <= size.n) {
        coopMatStoreNV(sums[i][j], c, row * size.n + column, size.n, false);
      } else {
        coopMatStoreNV(sums[i][j], edge[gl_SubgroupID], 0, 16, false);
        subgroupBarrier();
        for (uint at = gl_SubgroupInvocationID; at < 256u; at += 32u) {
          if (row + at / 16u < size.m && column + at % 16u < size.n) {
            c[(row + at / 16u) * size.n + column + at % 16u] = edge[gl_SubgroupID][at];
          }
        }
        subgroupBarrier();
      }
    }
  }
}
