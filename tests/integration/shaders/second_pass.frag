// Reads the first subpass's colour as an input attachment and swaps its channels.
#version 450
layout(location = 0) out vec4 result;
layout(input_attachment_index = 0, set = 0, binding = 0) uniform subpassInput first;
void main() { result = subpassLoad(first).brga; }
