#version 450
layout(push_constant) uniform Push { vec2 corner; vec2 size; vec4 colour; };
layout(location = 0) flat out vec4 shade;
void main() {
  shade = colour;
  gl_Position = vec4(corner + size * vec2(gl_VertexIndex & 1, gl_VertexIndex >> 1), 0.0, 1.0);
}
