#version 450
layout(push_constant) uniform Push { vec2 scale; float angle; };
layout(location = 0) out vec3 shade;
void main() {
  const float corner = angle + 2.0943951 * float(gl_VertexIndex);
  gl_Position = vec4(scale * vec2(sin(corner), -cos(corner)) + vec2(0.0, 0.2), 0.0, 1.0);
  shade = vec3(gl_VertexIndex == 0, gl_VertexIndex == 1, gl_VertexIndex == 2);
}
