// Positions and colours from vertex buffers, an offset per instance.
#version 450
layout(location = 0) in vec2 position;
layout(location = 1) in vec3 vertex_colour;
layout(location = 2) in vec2 instance_offset;
layout(location = 0) out vec3 colour;
void main() {
  gl_Position = vec4(position + instance_offset, 0.5, 1.0);
  colour = vertex_colour;
}
