// Pixels of presented images become those of a window.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vesper::client {

inline constexpr uint32_t kBytesPerPixel = 4;  // of every format that is presented

struct PixelConversion {
  bool swap_red_blue = false;  // R, G, B, A to B, G, R, A, as windows have them
  bool opaque = false;         // the fourth byte becomes 255, whatever it was
};

// `count` pixels; the ranges do not overlap, neither needs an alignment.
void ConvertPixels(uint8_t* to, const uint8_t* from, size_t count, PixelConversion conversion) noexcept;

}  // namespace vesper::client
