#version 450
// Polls data[0] for as long as anyone would wait, then says in data[1] what it found.
layout(local_size_x = 1) in;
layout(set = 0, binding = 0) coherent volatile buffer Data { uint data[]; };
void main() {
  uint found = 0;
  for (uint i = 0; i < 2000000000u && found == 0; ++i) found = data[0];
  data[1] = found;
}
