// C = A B of n by n float32, in tiles of 16 by 16, as a first lesson has it.
#version 450
layout(local_size_x = 16, local_size_y = 16) in;
layout(binding = 0) readonly buffer A { float a[]; };
layout(binding = 1) readonly buffer B { float b[]; };
layout(binding = 2) writeonly buffer C { float c[]; };
layout(push_constant) uniform Push { uint n; };
shared float left[16][16], right[16][16];
void main() {
  uint x = gl_LocalInvocationID.x, y = gl_LocalInvocationID.y;
  uint row = gl_GlobalInvocationID.y, column = gl_GlobalInvocationID.x;
  float sum = 0.0;
  for (uint tile = 0u; tile < n; tile += 16u) {
    left[y][x] = a[row * n + tile + x];
    right[y][x] = b[(tile + y) * n + column];
    barrier();
    for (uint k = 0u; k < 16u; ++k) sum += left[y][k] * right[k][x];
    barrier();
  }
  c[row * n + column] = sum;
}
