#version 450
#extension GL_GOOGLE_include_directive : require
// Sixteen by sixteen threads make a tile of C of that size, each one element, from tiles of A and B in shared memory. For
// small matrices, where larger tiles would leave most of the device idle.
#include "operands.glsl"
layout(local_size_x = 16, local_size_y = 16) in;
shared float tile_a[16][16];
shared float tile_b[16][17];

void main() {
  const uvec2 local = gl_LocalInvocationID.xy;
  const uint row = gl_WorkGroupID.y * 16u + local.y;
  const uint column = gl_WorkGroupID.x * 16u + local.x;
  float sum = 0.0;
  for (uint k = 0; k < size.k; k += 16u) {
    tile_a[local.y][local.x] = LoadA(row, k + local.x);
#ifdef COLUMNS_OF_B_ARE_CONTIGUOUS
    tile_b[local.x][local.y] = LoadB(k + local.x, gl_WorkGroupID.x * 16u + local.y);
#else
    tile_b[local.y][local.x] = LoadB(k + local.y, column);
#endif
    barrier();
    for (uint i = 0; i < 16u; ++i) sum = fma(tile_a[local.y][i], tile_b[i][local.x], sum);
    barrier();
  }
  if (row < size.m && column < size.n) c[row * size.n + column] = sum;
}
