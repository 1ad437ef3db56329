// A uniform block (inline or not) in, a storage buffer out.
#version 450
layout(local_size_x = 16) in;
layout(set = 0, binding = 0) uniform Block { uvec4 words[4]; };
layout(set = 0, binding = 1) writeonly buffer Target { uint target[16]; };
void main() {
  const uint i = gl_GlobalInvocationID.x;
  target[i] = words[i / 4][i % 4] * 3u;
}
