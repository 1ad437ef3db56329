// Of its bindings some are written in one way or another, and some are not though they might be.
#version 450
layout(local_size_x = 64) in;
layout(set = 0, binding = 0) readonly buffer Source { uint source[]; };
layout(set = 0, binding = 1) buffer OnlyRead { uint only_read[]; };
layout(set = 0, binding = 2) buffer Stored { uint stored[]; };
layout(set = 0, binding = 3) buffer Counted { uint counted[]; };
layout(set = 1, binding = 0) buffer Chosen { uint chosen[]; } many[2];
layout(push_constant) uniform Push { uint value; uint which; };
void main() {
  const uint i = gl_GlobalInvocationID.x;
  stored[i] = source[i] + only_read[i] + value;
  atomicAdd(counted[i], value);
  many[which].chosen[i] = value ^ i;
}
