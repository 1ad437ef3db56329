#version 450
#extension GL_GOOGLE_include_directive : require
// Sixteen by sixteen threads make a tile of TILE × TILE elements of C (64 or 128), each thread EACH × EACH of them in
// registers, in quarters of four: four neighbours in each direction, then TILE / 2 further on, so that shared memory is read
// in vectors without conflicts. The next tiles of A and B are on their way from memory while these are worked on.
#include "operands.glsl"
#ifndef TILE
#define TILE 128
#endif
#define EACH (TILE / 16)
#define DEPTH 16
#define QUADS (EACH / 4)
#define LOADS (TILE * DEPTH / 256)
layout(local_size_x = 256) in;
// By k, then by row of A or column of B, four in a vector. The padding keeps the transposing stores apart.
shared vec4 tile_a[DEPTH][TILE / 4 + 1];
shared vec4 tile_b[DEPTH][TILE / 4 + 1];

void main() {
  const uint thread = gl_LocalInvocationID.x;
  const uint row0 = gl_WorkGroupID.y * TILE;
  const uint column0 = gl_WorkGroupID.x * TILE;
  const uint x = thread % 16u;
  const uint y = thread / 16u;
  float next_a[LOADS];
  float next_b[LOADS];
  vec4 sums[EACH][QUADS];
  for (uint i = 0; i < EACH; ++i)
    for (uint j = 0; j < QUADS; ++j) sums[i][j] = vec4(0.0);

  for (uint i = 0; i < LOADS; ++i) {
    const uint at = thread + i * 256u;
    next_a[i] = LoadA(row0 + at / DEPTH, at % DEPTH);
#ifdef COLUMNS_OF_B_ARE_CONTIGUOUS
    next_b[i] = LoadB(at % DEPTH, column0 + at / DEPTH);
#else
    next_b[i] = LoadB(at / TILE, column0 + at % TILE);
#endif
  }
  for (uint k = 0; k < size.k; k += DEPTH) {
    for (uint i = 0; i < LOADS; ++i) {
      const uint at = thread + i * 256u;
      tile_a[at % DEPTH][at / DEPTH / 4u][at / DEPTH % 4u] = next_a[i];
#ifdef COLUMNS_OF_B_ARE_CONTIGUOUS
      tile_b[at % DEPTH][at / DEPTH / 4u][at / DEPTH % 4u] = next_b[i];
#else
      tile_b[at / TILE][at % TILE / 4u][at % 4u] = next_b[i];
#endif
    }
    barrier();
    if (k + DEPTH < size.k) {
      for (uint i = 0; i < LOADS; ++i) {
        const uint at = thread + i * 256u;
        next_a[i] = LoadA(row0 + at / DEPTH, k + DEPTH + at % DEPTH);
#ifdef COLUMNS_OF_B_ARE_CONTIGUOUS
        next_b[i] = LoadB(k + DEPTH + at % DEPTH, column0 + at / DEPTH);
#else
        next_b[i] = LoadB(k + DEPTH + at / TILE, column0 + at % TILE);
#endif
      }
    }
    for (uint depth = 0; depth < DEPTH; ++depth) {
      vec4 left[QUADS];
      vec4 right[QUADS];
      for (uint quad = 0; quad < QUADS; ++quad) {
        left[quad] = tile_a[depth][quad * 16u + y];
        right[quad] = tile_b[depth][quad * 16u + x];
      }
      for (uint i = 0; i < EACH; ++i)
        for (uint j = 0; j < QUADS; ++j) sums[i][j] = fma(vec4(left[i / 4u][i % 4u]), right[j], sums[i][j]);
    }
    barrier();
  }
  for (uint i = 0; i < EACH; ++i) {
    const uint row = row0 + i / 4u * 64u + y * 4u + i % 4u;
    for (uint j = 0; j < EACH; ++j) {
      const uint column = column0 + j / 4u * 64u + x * 4u + j % 4u;
      if (row < size.m && column < size.n) c[row * size.n + column] = sums[i][j / 4u][j % 4u];
    }
  }
}
