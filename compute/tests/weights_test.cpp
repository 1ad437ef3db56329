// Protects that weights hold what they were given, as closely as vesper/compute/matmul.h says, in
// the layout that it says.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "vesper/compute/error.h"
#include "vesper/compute/matmul.h"

namespace vesper::compute {
namespace {

std::vector<float> Random(size_t count, uint32_t seed, float range) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> values(-range, range);
  std::vector<float> made(count);
  for (float& each : made) each = values(random);
  return made;
}

TEST(WeightsTest, EveryFloat16IsItself) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = FromFloat16(static_cast<uint16_t>(bits));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(FromFloat16(ToFloat16(value))));
    } else {
      EXPECT_EQ(ToFloat16(value), bits);
    }
  }
}

TEST(WeightsTest, Float16RoundsToNearestEven) {
  EXPECT_EQ(ToFloat16(1.0f), 0x3c00);
  EXPECT_EQ(ToFloat16(-2.5f), 0xc100);
  EXPECT_EQ(ToFloat16(1.0f + 0x1p-11f), 0x3c00);
  EXPECT_EQ(ToFloat16(1.0f + 3 * 0x1p-11f), 0x3c02);
  EXPECT_EQ(ToFloat16(1.0f + 0x1p-11f + 0x1p-20f), 0x3c01);
  EXPECT_EQ(ToFloat16(65519.0f), 0x7bff);
  EXPECT_EQ(ToFloat16(65520.0f), 0x7c00);
  EXPECT_EQ(ToFloat16(-std::numeric_limits<float>::infinity()), 0xfc00);
  EXPECT_EQ(ToFloat16(0x1p-25f), 0);
  EXPECT_EQ(ToFloat16(0x1p-25f + 0x1p-40f), 1);
  EXPECT_EQ(ToFloat16(-0.0f), 0x8000);
}

TEST(WeightsTest, LayoutOfQuantizedBlocks) {
  // One column of 33: two blocks, the second with one element.
  std::vector<float> values(33);
  for (int i = 0; i < 32; ++i) values[static_cast<size_t>(i)] = static_cast<float>(i - 16) * 8;
  values[32] = -64;
  const Weights q8 = EncodeWeights(ElementType::kQ8_0, 33, 1, values);
  ASSERT_EQ(q8.words.size(), 16u);
  ASSERT_EQ(q8.scales.size(), 1u);
  const float scale = FromFloat16(static_cast<uint16_t>(q8.scales[0]));
  EXPECT_NEAR(scale, 128.0f / 127, 1e-3f);
  EXPECT_EQ(static_cast<int8_t>(q8.words[0]), -127);
  EXPECT_EQ(static_cast<int8_t>(q8.words[4] >> 8), static_cast<int8_t>(std::nearbyint(8 / scale)));
  EXPECT_EQ(static_cast<int8_t>(q8.words[8]), -127);
  const Weights q4 = EncodeWeights(ElementType::kQ4_0, 33, 1, values);
  ASSERT_EQ(q4.words.size(), 8u);
  EXPECT_EQ(FromFloat16(static_cast<uint16_t>(q4.scales[0])), 16.0f);
  EXPECT_EQ(q4.words[0] & 15, 0u);         // -128 = -8 · 16
  EXPECT_EQ(q4.words[0] >> 4 & 15, 8u);    // element 16 is 0
  EXPECT_EQ(q4.words[3] >> 28 & 15, 15u);  // element 31 is 120: 7 · 16 is the most
  EXPECT_EQ(FromFloat16(static_cast<uint16_t>(q4.scales[0] >> 16)), 8.0f);
}

TEST(WeightsTest, QuantizationKeepsItsPromise) {
  constexpr uint32_t kDepth = 200;
  constexpr uint32_t kColumns = 37;
  const std::vector<float> values = Random(kDepth * kColumns, 1, 3);
  for (const auto& [type, part] :
       {std::pair(ElementType::kQ8_0, 1 / 230.0f), std::pair(ElementType::kQ4_0, 1 / 7.5f)}) {
    const std::vector<float> decoded = DecodeWeights(EncodeWeights(type, kDepth, kColumns, values));
    for (uint32_t column = 0; column < kColumns; ++column) {
      for (uint32_t block = 0; block < kDepth; block += 32) {
        float largest = 0;
        float worst = 0;
        for (uint32_t row = block; row < std::min(block + 32, kDepth); ++row) {
          const size_t at = size_t{row} * kColumns + column;
          largest = std::max(largest, std::abs(values[at]));
          worst = std::max(worst, std::abs(values[at] - decoded[at]));
        }
        EXPECT_LE(worst, largest * part) << ElementTypeName(type);
        EXPECT_GT(worst, 0.0f);
      }
    }
  }
  const std::vector<float> halves = DecodeWeights(EncodeWeights(ElementType::kFloat16, kDepth, kColumns, values));
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_LE(std::abs(halves[i] - values[i]), std::abs(values[i]) * 0x1p-11f);
  }
  EXPECT_EQ(DecodeWeights(EncodeWeights(ElementType::kFloat32, kDepth, kColumns, values)), values);
}

TEST(WeightsTest, ZerosAndExtremes) {
  std::vector<float> values(64, 0.0f);
  values[40] = 1e30f;  // beyond any float16 scale: as large as it gets, and finite
  for (const ElementType type : {ElementType::kQ8_0, ElementType::kQ4_0}) {
    const std::vector<float> decoded = DecodeWeights(EncodeWeights(type, 64, 1, values));
    for (size_t i = 0; i < 32; ++i) EXPECT_EQ(decoded[i], 0.0f);
    EXPECT_TRUE(std::isfinite(decoded[40]));
    EXPECT_GT(decoded[40], 4e5f);
  }
}

TEST(WeightsTest, RefusesWhatItCannotHold) {
  const std::vector<float> values(12, std::numeric_limits<float>::quiet_NaN());
  EXPECT_THROW(EncodeWeights(ElementType::kFloat32, 3, 5, values), Error);
  EXPECT_THROW(EncodeWeights(ElementType::kQ8_0, 3, 4, values), Error);
  EXPECT_NO_THROW(EncodeWeights(ElementType::kFloat16, 3, 4, values));
}

}  // namespace
}  // namespace vesper::compute
