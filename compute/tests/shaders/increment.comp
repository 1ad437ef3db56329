#version 450
layout(local_size_x = 8, local_size_y = 4, local_size_z = 2) in;
layout(constant_id = 1) const uint kStep = 1;
layout(constant_id = 2) const bool kTwice = false;
layout(set = 0, binding = 0) buffer Data { uint size[4]; uint data[]; };

void main() {
  const uvec3 id = gl_GlobalInvocationID;
  if (any(greaterThanEqual(id, uvec3(size[0], size[1], size[2])))) return;
  data[(id.z * size[1] + id.y) * size[0] + id.x] += kTwice ? 2 * kStep : kStep;
}
