// out[i] = in[i] * in[i] * scale + bias + i, with scale a specialization constant and bias a push constant.
#version 450
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint scale = 1;
layout(set = 0, binding = 0) readonly buffer Source { uint source[]; };
layout(set = 0, binding = 1) writeonly buffer Target { uint target[]; };
layout(push_constant) uniform Push { uint bias; uint count; };
void main() {
  const uint i = gl_GlobalInvocationID.x;
  if (i < count) target[i] = source[i] * source[i] * scale + bias + i;
}
