#version 450
layout(location = 0) out vec3 colour;
layout(push_constant) uniform Push { vec2 offset; float scale; float depth; };
const vec2 kCorners[3] = vec2[](vec2(0.0, -0.8), vec2(0.8, 0.8), vec2(-0.8, 0.8));
const vec3 kColours[3] = vec3[](vec3(1, 0, 0), vec3(0, 1, 0), vec3(0, 0, 1));
void main() {
  gl_Position = vec4(kCorners[gl_VertexIndex] * scale + offset, depth, 1.0);
  colour = kColours[gl_VertexIndex];
}
