// An image that is written, one that is only loaded, and a texel buffer that is written through a function.
#version 450
layout(local_size_x = 1) in;
layout(set = 0, binding = 0, r32ui) uniform uimage2D target;
layout(set = 0, binding = 1, r32ui) uniform uimage2D loaded;
layout(set = 2, binding = 5) uniform writeonly uimageBuffer texels;
layout(set = 2, binding = 6, r32ui) uniform uimage2D counted;
void Put(writeonly uimageBuffer where, uint value) { imageStore(where, 0, uvec4(value)); }
void main() {
  const uint value = imageLoad(loaded, ivec2(0)).x;
  imageStore(target, ivec2(0), uvec4(value));
  imageAtomicAdd(counted, ivec2(0), value);
  Put(texels, value + uint(imageSize(target).x));
}
