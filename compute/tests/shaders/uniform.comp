#version 450
layout(local_size_x = 1) in;
layout(set = 0, binding = 0) uniform Factors { vec4 factor; uint many[100]; };
layout(set = 0, binding = 1) buffer Data { float data[]; };

void main() { data[gl_GlobalInvocationID.x] *= factor.y; }
