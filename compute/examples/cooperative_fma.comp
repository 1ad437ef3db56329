#version 450
#pragma use_vulkan_memory_model
#extension GL_NV_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_EXT_control_flow_attributes : require
// The same for cooperative matrices: float16 products of 16×16×16 with sums in float32, eight chains a subgroup.
layout(local_size_x = 256) in;
layout(set = 0, binding = 0) writeonly buffer Out { float result[]; };
layout(push_constant) uniform Push {
  uint rounds;
  float factor;
} push;

void main() {
  const fcoopmatNV<16, gl_ScopeSubgroup, 16, 16> left = fcoopmatNV<16, gl_ScopeSubgroup, 16, 16>(float16_t(push.factor));
  const fcoopmatNV<16, gl_ScopeSubgroup, 16, 16> right = fcoopmatNV<16, gl_ScopeSubgroup, 16, 16>(float16_t(push.factor));
  fcoopmatNV<32, gl_ScopeSubgroup, 16, 16> chain[8];
  [[unroll]] for (int i = 0; i < 8; ++i) chain[i] = fcoopmatNV<32, gl_ScopeSubgroup, 16, 16>(float(i));
  for (uint round = 0; round < push.rounds; ++round) {
    [[unroll]] for (int i = 0; i < 8; ++i) chain[i] = coopMatMulAddNV(left, right, chain[i]);
  }
  [[unroll]] for (int i = 1; i < 8; ++i) chain[0] += chain[i];
  coopMatStoreNV(chain[0], result, gl_GlobalInvocationID.x / 32 * 256, 16, false);
}
