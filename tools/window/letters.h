// Letters of 5 by 7 dots, for the text in the window of `vesper doctor --window`.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace vesper::tools::window {

inline constexpr uint32_t kLetterWidth = 6, kLetterHeight = 9;  // with what is left free around one

// Writes one line into `pixels`, rows of `stride` pixels, each dot `scale` pixels wide and high, as far as it fits. What is no
// printable ASCII becomes a question mark.
void Write(const std::string& text, uint32_t x, uint32_t y, uint32_t scale, uint32_t colour, std::span<uint32_t> pixels,
           uint32_t stride);

}  // namespace vesper::tools::window
