// Random words, or the sum by which words that have travelled are known: of each times its own odd number.
#version 450
layout(local_size_x = 64) in;
layout(binding = 0) buffer Words { uint words[]; };
layout(binding = 1) buffer Sum { uint sum; };
layout(push_constant) uniform Push { uint count; uint seed; uint adds; };
uint mixed(uint x) {
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= x >> 15;
  x *= 0x846ca68bu;
  return x ^ (x >> 16);
}
void main() {
  uint stride = gl_NumWorkGroups.x * 64u, own = 0u;
  for (uint i = gl_GlobalInvocationID.x; i < count; i += stride) {
    if (adds == 0u) words[i] = mixed(i ^ seed);
    else own += words[i] * (2u * i + 1u);
  }
  if (adds != 0u) atomicAdd(sum, own);
}
