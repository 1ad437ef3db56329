// Reproducible values for generated arguments: the same seed gives the same sequence on every machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace vesper::test {

// SplitMix64.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  // 0 … limit - 1.
  uint64_t Below(uint64_t limit) { return limit == 0 ? 0 : Next() % limit; }
  bool OneIn(uint64_t n) { return Below(n) == 0; }
  void Bytes(void* to, size_t size) {
    for (size_t i = 0; i < size; ++i) static_cast<uint8_t*>(to)[i] = static_cast<uint8_t>(Next() >> 24);
  }

 private:
  uint64_t state_;
};

}  // namespace vesper::test
