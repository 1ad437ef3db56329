#include "tools/bench/random.h"

#include <random>

namespace vesper::tools::bench {

Random::Random() {
  std::random_device device;
  state_ = uint64_t{device()} << 32 | device() | 1;
}

// xorshift64*
uint32_t Random::Word() {
  state_ ^= state_ >> 12;
  state_ ^= state_ << 25;
  state_ ^= state_ >> 27;
  return static_cast<uint32_t>(state_ * 0x2545f4914f6cdd1d >> 32);
}

void Random::Fill(std::span<uint32_t> words) {
  for (uint32_t& word : words) word = Word();
}

uint32_t MixedWord(uint32_t index, uint32_t seed) {
  uint32_t x = index ^ seed;
  x ^= x >> 16;
  x *= 0x7feb352d;
  x ^= x >> 15;
  x *= 0x846ca68b;
  return x ^ x >> 16;
}

uint32_t SumOf(std::span<const uint32_t> words) {
  uint32_t sum = 0;
  for (size_t i = 0; i < words.size(); ++i) sum += words[i] * static_cast<uint32_t>(2 * i + 1);
  return sum;
}

}  // namespace vesper::tools::bench
