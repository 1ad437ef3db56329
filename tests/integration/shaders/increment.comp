#version 450
layout(local_size_x = 64) in;
layout(set = 0, binding = 0) buffer Data { uint data[]; };
void main() {
  if (gl_GlobalInvocationID.x < data.length()) data[gl_GlobalInvocationID.x] += 1;
}
