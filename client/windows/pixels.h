// Pixels of presented images become those of a window.
#pragma once

#include <cstddef>
#include <cstdint>

#include "client/base/function_ref.h"

namespace vesper::client {

inline constexpr uint32_t kBytesPerPixel = 4;  // of every format that is presented

struct PixelConversion {
  bool swap_red_blue = false;  // R, G, B, A to B, G, R, A, as windows have them
  bool opaque = false;         // the fourth byte becomes 255, whatever it was
};

// `count` pixels; the ranges do not overlap, neither needs an alignment.
void ConvertPixels(uint8_t* to, const uint8_t* from, size_t count, PixelConversion conversion) noexcept;

// Where two pictures of that size differ, in tiles of 64×64 pixels: for each row of tiles, what reaches from the first that differs to
// the last. Calls `changed(x, y, width, height)`, within the picture.
inline constexpr uint32_t kTile = 64;
void FindChanges(const uint8_t* now, const uint8_t* before, uint32_t width, uint32_t height,
                 FunctionRef<void(uint32_t, uint32_t, uint32_t, uint32_t)> changed) noexcept;

}  // namespace vesper::client
