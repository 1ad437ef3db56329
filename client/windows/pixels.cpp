#include "client/windows/pixels.h"

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

}  // namespace vesper::client
