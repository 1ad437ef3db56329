// Buffer views: a uniform texel buffer in, a storage texel buffer out.
#version 450
layout(local_size_x = 64) in;
layout(set = 0, binding = 0) uniform usamplerBuffer source;
layout(set = 0, binding = 1, r32ui) writeonly uniform uimageBuffer target;
void main() {
  const int i = int(gl_GlobalInvocationID.x);
  if (i < textureSize(source)) imageStore(target, i, uvec4(texelFetch(source, i).r + 7u));
}
