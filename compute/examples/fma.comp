#version 450
// As many float32 multiply-adds as a device can do: eight independent chains of vectors in each thread.
layout(local_size_x = 256) in;
layout(set = 0, binding = 0) writeonly buffer Out { vec4 result[]; };
layout(push_constant) uniform Push {
  uint rounds;
  float factor;
} push;

void main() {
  const float start = float(gl_GlobalInvocationID.x) * 1e-6;
  vec4 chain[8];
  for (int i = 0; i < 8; ++i) chain[i] = vec4(start + i);
  for (uint round = 0; round < push.rounds; ++round) {
    for (int i = 0; i < 8; ++i) chain[i] = fma(chain[i], vec4(push.factor), vec4(start));
  }
  vec4 sum = vec4(0.0);
  for (int i = 0; i < 8; ++i) sum += chain[i];
  result[gl_GlobalInvocationID.x] = sum;
}
