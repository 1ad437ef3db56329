// Data that nobody can guess or pack: seeded afresh in each run.
#pragma once

#include <cstdint>
#include <span>

namespace vesper::tools::bench {

class Random {
 public:
  Random();  // a seed of its own
  uint32_t Word();
  float Fraction() { return static_cast<float>(Word() >> 8) * (1.0f / (1 << 24)); }
  void Fill(std::span<uint32_t> words);

 private:
  uint64_t state_;
};

// As shaders/words.comp has them: the word at `index` of the sequence `seed`, and the sum by which words are known.
uint32_t MixedWord(uint32_t index, uint32_t seed);
uint32_t SumOf(std::span<const uint32_t> words);

}  // namespace vesper::tools::bench
