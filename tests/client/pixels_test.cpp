// Pixels of presented images as windows take them, byte by byte.
#include "client/windows/pixels.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace vesper::client {
namespace {

// A count that no vector length divides, and more bytes than the pixels, which must stay as they are.
constexpr size_t kCount = 37;

std::vector<uint8_t> Source() {
  std::vector<uint8_t> bytes(4 * kCount);
  std::iota(bytes.begin(), bytes.end(), uint8_t{3});
  return bytes;
}

std::vector<uint8_t> Converted(const std::vector<uint8_t>& from, PixelConversion conversion) {
  std::vector<uint8_t> to(from.size() + 1, 0xee);
  ConvertPixels(to.data(), from.data(), kCount, conversion);
  EXPECT_EQ(to.back(), 0xee) << "written beyond the end";
  to.pop_back();
  return to;
}

TEST(PixelsTest, CopiesWhatFits) { EXPECT_EQ(Converted(Source(), {}), Source()); }

TEST(PixelsTest, SwapsRedAndBlue) {
  const std::vector<uint8_t> from = Source();
  const std::vector<uint8_t> to = Converted(from, {.swap_red_blue = true});
  for (size_t i = 0; i < kCount; ++i) {
    EXPECT_EQ(to[4 * i], from[4 * i + 2]);
    EXPECT_EQ(to[4 * i + 1], from[4 * i + 1]);
    EXPECT_EQ(to[4 * i + 2], from[4 * i]);
    EXPECT_EQ(to[4 * i + 3], from[4 * i + 3]);
  }
}

TEST(PixelsTest, MakesOpaque) {
  const std::vector<uint8_t> from = Source();
  const std::vector<uint8_t> plain = Converted(from, {.opaque = true});
  const std::vector<uint8_t> swapped = Converted(from, {.swap_red_blue = true, .opaque = true});
  for (size_t i = 0; i < kCount; ++i) {
    EXPECT_EQ(plain[4 * i], from[4 * i]);
    EXPECT_EQ(plain[4 * i + 3], 255);
    EXPECT_EQ(swapped[4 * i], from[4 * i + 2]);
    EXPECT_EQ(swapped[4 * i + 3], 255);
  }
}

TEST(PixelsTest, NeedsNoAlignment) {
  const std::vector<uint8_t> from = {0, 1, 2, 3, 4};
  std::vector<uint8_t> to(5, 0);
  ConvertPixels(to.data() + 1, from.data() + 1, 1, {.swap_red_blue = true});
  EXPECT_EQ(to, (std::vector<uint8_t>{0, 3, 2, 1, 4}));
}

}  // namespace
}  // namespace vesper::client
