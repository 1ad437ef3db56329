// One triangle over the whole picture, texture coordinates 0..1.
#version 450
layout(location = 0) out vec2 where;
void main() {
  where = vec2((gl_VertexIndex << 1) & 2, gl_VertexIndex & 2);
  gl_Position = vec4(where * 2.0 - 1.0, 0.0, 1.0);
}
