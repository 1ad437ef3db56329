#version 450
// Edges of a picture (Sobel), on top of what remains of its colours. One pixel of RGBA8 is a word.
layout(local_size_x = 16, local_size_y = 16) in;
layout(push_constant) uniform Push { uint width; uint height; } push;
layout(set = 0, binding = 0) readonly buffer From { uint from[]; };
layout(set = 0, binding = 1) writeonly buffer To { uint to[]; };

vec4 Pixel(ivec2 at) {
  const ivec2 inside = clamp(at, ivec2(0), ivec2(push.width, push.height) - 1);
  return unpackUnorm4x8(from[inside.y * push.width + inside.x]);
}

float Light(ivec2 at) { return dot(Pixel(at).rgb, vec3(0.299, 0.587, 0.114)); }

void main() {
  const ivec2 at = ivec2(gl_GlobalInvocationID.xy);
  if (at.x >= push.width || at.y >= push.height) return;
  vec2 slope = vec2(0);
  for (int i = -1; i <= 1; ++i) {
    const float weight = 2 - abs(i);
    slope.x += weight * (Light(at + ivec2(1, i)) - Light(at + ivec2(-1, i)));
    slope.y += weight * (Light(at + ivec2(i, 1)) - Light(at + ivec2(i, -1)));
  }
  const float edge = clamp(length(slope), 0, 1);
  to[at.y * push.width + at.x] = packUnorm4x8(vec4(mix(Pixel(at).rgb * 0.4, vec3(1), edge), 1));
}
