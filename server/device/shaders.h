// Whether the SPIR-V that a client sends may reach the driver: its header and the lengths of its instructions always, and with
// --validate-shaders everything that SPIRV-Tools' validator knows. Session asks ahead of each command that brings shaders.
#pragma once

#include <vulkan/vulkan.h>

#include <chrono>
#include <cstdint>
#include <span>
#include <string>

namespace vesper::server {

struct ShaderRules {
  bool validate = false;
  uint32_t api_version = VK_API_VERSION_1_0;  // of the device
};

// `result` is VK_SUCCESS, or what the command fails with; `why` is a sentence, which may hold names of the client's.
struct ShaderVerdict {
  VkResult result = VK_SUCCESS;
  std::string why{};
};

// Whether this build has the validator.
bool CanValidateShaders();

// Of all shaders that the command brings, by itself or in the stages of its pipelines; `command` is a number of this server, `args`
// are its decoded arguments. Any thread. Commands without shaders cost nothing.
ShaderVerdict CheckShaders(uint16_t command, const void* args, const ShaderRules& rules);
// Of one shader.
ShaderVerdict CheckShader(std::span<const uint32_t> code, const ShaderRules& rules);

// How long the shader has been looked at that has been for longest; zero when none is. Any thread.
std::chrono::nanoseconds LongestShaderCheck();

}  // namespace vesper::server
