// Samples a picture at every texel centre and stores what it saw, mirrored.
#version 450
layout(local_size_x = 8, local_size_y = 8) in;
layout(set = 0, binding = 0) uniform sampler2D source;
layout(set = 0, binding = 1, rgba8) writeonly uniform image2D target;
void main() {
  const ivec2 size = imageSize(target);
  const ivec2 at = ivec2(gl_GlobalInvocationID.xy);
  if (any(greaterThanEqual(at, size))) return;
  const vec2 where = (vec2(at) + 0.5) / vec2(size);
  imageStore(target, ivec2(size.x - 1 - at.x, at.y), textureLod(source, where, 0.0));
}
