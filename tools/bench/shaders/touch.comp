// Next to nothing, but it can be counted.
#version 450
layout(local_size_x = 1) in;
layout(binding = 0) buffer Word { uint word; };
layout(push_constant) uniform Push { uint value; uint unused[3]; };
void main() { atomicAdd(word, value); }
