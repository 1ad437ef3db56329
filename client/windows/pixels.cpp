#include "client/windows/pixels.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace vesper::client {

static_assert(std::endian::native == std::endian::little);

// One loop that compilers turn into vector instructions, whatever is to be done.
void ConvertPixels(uint8_t* to, const uint8_t* from, size_t count, PixelConversion conversion) noexcept {
  if (!conversion.swap_red_blue && !conversion.opaque) {
    std::memcpy(to, from, 4 * count);
    return;
  }
  const uint32_t alpha = conversion.opaque ? 0xff000000u : 0;
  const int shift = conversion.swap_red_blue ? 16 : 0;
  for (size_t i = 0; i < count; ++i) {
    uint32_t pixel;
    std::memcpy(&pixel, from + 4 * i, sizeof(pixel));
    const uint32_t outer = pixel & 0x00ff00ffu;
    pixel = (pixel & 0xff00ff00u) | std::rotl(outer, shift) | alpha;
    std::memcpy(to + 4 * i, &pixel, sizeof(pixel));
  }
}

namespace {

bool TileDiffers(const uint8_t* now, const uint8_t* before, size_t stride, size_t bytes, uint32_t rows) noexcept {
  for (uint32_t row = 0; row < rows; ++row) {
    if (std::memcmp(now + row * stride, before + row * stride, bytes) != 0) return true;
  }
  return false;
}

}  // namespace

void FindChanges(const uint8_t* now, const uint8_t* before, uint32_t width, uint32_t height,
                 FunctionRef<void(uint32_t, uint32_t, uint32_t, uint32_t)> changed) noexcept {
  const size_t stride = size_t{width} * kBytesPerPixel;
  for (uint32_t y = 0; y < height; y += kTile) {
    const uint32_t rows = std::min(kTile, height - y);
    const auto differs = [&](uint32_t x) {
      const size_t at = y * stride + size_t{x} * kBytesPerPixel;
      return TileDiffers(now + at, before + at, stride, size_t{std::min(kTile, width - x)} * kBytesPerPixel, rows);
    };
    uint32_t first = 0;
    while (first < width && !differs(first)) first += kTile;
    if (first >= width) continue;
    uint32_t last = (width - 1) / kTile * kTile;
    while (last > first && !differs(last)) last -= kTile;
    changed(first, y, std::min(last + kTile, width) - first, rows);
  }
}

}  // namespace vesper::client
