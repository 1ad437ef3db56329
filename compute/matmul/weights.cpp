// How matrices are stored: float16 and blocks of 32 with a scale. See vesper/compute/matmul.h.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "vesper/compute/error.h"
#include "vesper/compute/matmul.h"

namespace vesper::compute {
namespace {

constexpr uint32_t kBlock = 32;

std::vector<uint32_t> PackFloat16(std::span<const float> values) {
  std::vector<uint32_t> words((values.size() + 1) / 2);
  for (size_t i = 0; i < values.size(); ++i) {
    words[i / 2] |= uint32_t{ToFloat16(values[i])} << (i % 2 * 16);
  }
  return words;
}

std::vector<uint32_t> PackFloat32(std::span<const float> values) {
  std::vector<uint32_t> words(values.size());
  if (!values.empty()) std::memcpy(words.data(), values.data(), values.size_bytes());
  return words;
}

// One block; returns the scale's bits. `values` has 32 elements.
uint16_t EncodeQ8(const float* values, uint32_t* words) {
  float largest = 0;
  for (uint32_t i = 0; i < kBlock; ++i) largest = std::max(largest, std::abs(values[i]));
  const uint16_t bits = ToFloat16(std::min(largest / 127.0f, 65504.0f));
  const float scale = FromFloat16(bits);
  for (uint32_t i = 0; i < kBlock; ++i) {
    const float quant = scale == 0 ? 0 : std::clamp(std::nearbyint(values[i] / scale), -127.0f, 127.0f);
    words[i / 4] |= (static_cast<uint32_t>(static_cast<int32_t>(quant)) & 0xffu) << (i % 4 * 8);
  }
  return bits;
}

uint16_t EncodeQ4(const float* values, uint32_t* words) {
  float largest = 0;  // with its sign: -8 is the one magnitude that only one sign has
  for (uint32_t i = 0; i < kBlock; ++i) {
    if (std::abs(values[i]) > std::abs(largest)) largest = values[i];
  }
  const uint16_t bits = ToFloat16(std::clamp(largest / -8.0f, -65504.0f, 65504.0f));
  const float scale = FromFloat16(bits);
  for (uint32_t i = 0; i < kBlock; ++i) {
    const float quant = scale == 0 ? 0 : std::clamp(std::nearbyint(values[i] / scale), -8.0f, 7.0f);
    const auto nibble = static_cast<uint32_t>(static_cast<int32_t>(quant) + 8);
    words[i % 16 / 4] |= nibble << (i % 4 * 8 + i / 16 * 4);
  }
  return bits;
}

int32_t QuantAt(ElementType type, const uint32_t* words, uint32_t i) {
  if (type == ElementType::kQ8_0) return static_cast<int8_t>(words[i / 4] >> (i % 4 * 8));
  return static_cast<int32_t>(words[i % 16 / 4] >> (i % 4 * 8 + i / 16 * 4) & 15u) - 8;
}

uint32_t WordsInBlock(ElementType type) { return type == ElementType::kQ8_0 ? 8 : 4; }

}  // namespace

const char* ElementTypeName(ElementType type) {
  switch (type) {
    case ElementType::kFloat32:
      return "f32";
    case ElementType::kFloat16:
      return "f16";
    case ElementType::kQ8_0:
      return "q8_0";
    case ElementType::kQ4_0:
      return "q4_0";
  }
  return "?";
}

uint16_t ToFloat16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);   // not a number
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // rounds to infinity
  if (magnitude < 0x38800000u) {  // below 2⁻¹⁴: a multiple of 2⁻²⁴
    const float scaled = std::bit_cast<float>(magnitude) * 0x1p24f;
    return static_cast<uint16_t>(sign | static_cast<uint16_t>(std::nearbyint(scaled)));
  }
  const uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
  return static_cast<uint16_t>(sign | (rounded - 0x38000000u) >> 13);
}

float FromFloat16(uint16_t bits) {
  const uint32_t sign = uint32_t{bits & 0x8000u} << 16;
  const uint32_t magnitude = bits & 0x7fffu;
  if (magnitude >= 0x7c00u) return std::bit_cast<float>(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  if (magnitude < 0x400u) {
    const float value = static_cast<float>(magnitude) * 0x1p-24f;
    return sign == 0 ? value : -value;
  }
  return std::bit_cast<float>(sign | ((magnitude << 13) + 0x38000000u));
}

Weights EncodeWeights(ElementType type, uint32_t k, uint32_t n, std::span<const float> values) {
  if (values.size() != uint64_t{k} * n) {
    throw Error(ErrorCode::BufferError, "encoding " + std::to_string(values.size()) + " values as a matrix of " +
                                            std::to_string(k) + "x" + std::to_string(n));
  }
  Weights weights{type, k, n, {}, {}};
  if (type == ElementType::kFloat32) weights.words = PackFloat32(values);
  if (type == ElementType::kFloat16) weights.words = PackFloat16(values);
  if (type == ElementType::kFloat32 || type == ElementType::kFloat16) return weights;
  if (!std::ranges::all_of(values, [](float value) { return std::isfinite(value); })) {
    throw Error(ErrorCode::BufferError, "quantizing a value that is not finite");
  }
  const uint64_t blocks = (k + uint64_t{kBlock} - 1) / kBlock;
  weights.words.resize(blocks * n * WordsInBlock(type));
  weights.scales.resize((blocks * n + 1) / 2);
  for (uint64_t column = 0; column < n; ++column) {
    for (uint64_t block = 0; block < blocks; ++block) {
      float element[kBlock] = {};
      for (uint64_t i = 0; i < std::min<uint64_t>(kBlock, k - block * kBlock); ++i) {
        element[i] = values[(block * kBlock + i) * n + column];
      }
      const uint64_t at = column * blocks + block;
      uint32_t* words = &weights.words[at * WordsInBlock(type)];
      const uint16_t scale = type == ElementType::kQ8_0 ? EncodeQ8(element, words) : EncodeQ4(element, words);
      weights.scales[at / 2] |= uint32_t{scale} << (at % 2 * 16);
    }
  }
  return weights;
}

std::vector<float> DecodeWeights(const Weights& weights) {
  const uint64_t n = weights.n;
  std::vector<float> values(weights.k * n);
  const uint64_t blocks = (weights.k + uint64_t{kBlock} - 1) / kBlock;
  const auto half = [](const std::vector<uint32_t>& words, uint64_t at) {
    return FromFloat16(static_cast<uint16_t>(words[at / 2] >> (at % 2 * 16)));
  };
  for (uint64_t at = 0; at < values.size(); ++at) {
    if (weights.type == ElementType::kFloat32) {
      values[at] = std::bit_cast<float>(weights.words[at]);
    } else if (weights.type == ElementType::kFloat16) {
      values[at] = half(weights.words, at);
    } else {
      const uint64_t row = at / n;
      const uint64_t block = at % n * blocks + row / kBlock;
      const uint32_t* words = &weights.words[block * WordsInBlock(weights.type)];
      values[at] = static_cast<float>(QuantAt(weights.type, words, static_cast<uint32_t>(row % kBlock))) *
                   half(weights.scales, block);
    }
  }
  return values;
}

std::vector<uint32_t> EncodeActivations(ElementType type, std::span<const float> values) {
  return type == ElementType::kFloat16 ? PackFloat16(values) : PackFloat32(values);
}

}  // namespace vesper::compute
