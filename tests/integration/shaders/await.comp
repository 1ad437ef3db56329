#version 450
// The groups, one after the other, poll data[0] until it is not zero and say in data[1] what they found. Each gives up after
// a while: drivers end loops that they take for endless.
layout(local_size_x = 1) in;
layout(set = 0, binding = 0) coherent volatile buffer Data { uint data[]; };
void main() {
  if (data[1] != 0) return;
  uint found = 0;
  for (uint i = 0; i < 50000u && found == 0; ++i) found = data[0];
  if (found != 0) data[1] = found;
}
