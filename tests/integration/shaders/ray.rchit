#version 460
#extension GL_EXT_ray_tracing : require
layout(location = 0) rayPayloadInEXT uint what;
void main() { what = 100 + gl_InstanceCustomIndexEXT; }
