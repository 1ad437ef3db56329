// Pixels of presented images as windows take them, byte by byte.
#include "client/windows/pixels.h"

#include <gtest/gtest.h>

#include <array>
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

// A picture of sizes that no tile divides; one byte changes, at every corner of a tile and of the picture.
TEST(PixelsTest, FindsWhatChanged) {
  constexpr uint32_t kWide = 150, kHigh = 70;
  const std::vector<uint8_t> before(size_t{kWide} * kHigh * 4, 7);
  using Found = std::vector<std::array<uint32_t, 4>>;
  const auto changes = [&](const std::vector<std::array<uint32_t, 2>>& pixels) {
    std::vector<uint8_t> now = before;
    for (const auto& [x, y] : pixels) now[(size_t{y} * kWide + x) * 4 + 3] = 8;
    Found found;
    FindChanges(now.data(), before.data(), kWide, kHigh, [&](uint32_t x, uint32_t y, uint32_t width, uint32_t height) {
      found.push_back({x, y, width, height});
    });
    return found;
  };
  EXPECT_EQ(changes({}), Found{});
  EXPECT_EQ(changes({{0, 0}}), (Found{{0, 0, 64, 64}}));
  EXPECT_EQ(changes({{63, 63}}), (Found{{0, 0, 64, 64}}));
  EXPECT_EQ(changes({{64, 63}}), (Found{{64, 0, 64, 64}}));
  EXPECT_EQ(changes({{149, 69}}), (Found{{128, 64, 22, 6}}));
  EXPECT_EQ(changes({{0, 64}, {149, 69}}), (Found{{0, 64, 150, 6}}));
  EXPECT_EQ(changes({{70, 1}, {149, 2}, {3, 65}}), (Found{{64, 0, 86, 64}, {0, 64, 64, 6}}));
}

}  // namespace
}  // namespace vesper::client
