#version 450
// The groups, one after the other or many at once, poll data[0] until it is not zero and say in data[1] what they found.
// Each gives up after a while, a second or so on a GPU; some drivers end loops much earlier.
layout(local_size_x = 1) in;
layout(set = 0, binding = 0) coherent volatile buffer Data { uint data[]; };
void main() {
  if (data[1] != 0) return;
  uint found = 0;
  for (uint j = 0; j < 40u && found == 0; ++j) {
    for (uint i = 0; i < 50000u && found == 0; ++i) found = data[0];
  }
  if (found != 0) data[1] = found;
}
