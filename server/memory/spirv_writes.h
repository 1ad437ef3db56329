// Which bindings a shader may write through, from a conservative reading of its SPIR-V.
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <utility>

namespace vesper::server {

struct ShaderWrites {
  void Merge(const ShaderWrites& other);
  bool unknown = false;                              // through any binding, and by address
  bool addresses = false;                            // it may write by address: whatever has one
  std::set<std::pair<uint32_t, uint32_t>> bindings;  // set, binding
};

// A binding is written when what it leads to reaches a store, an atomic, an image write or any use that is not known to only
// read. What is not understood is unknown.
ShaderWrites ReadShaderWrites(std::span<const uint32_t> code);

}  // namespace vesper::server
