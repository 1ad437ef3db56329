// Two pictures as an H.264 stream that needs no encoder: the first one's macroblocks stand in it as they are (I_PCM), the second
// one is the first with other pixels in its first macroblock. So every pixel that a decoder must give is known.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace vesper::test {

// 4:2:0 in two planes, as VK_FORMAT_G8_B8R8_2PLANE_420_UNORM.
struct Frame {
  std::vector<uint8_t> luma;    // width × height
  std::vector<uint8_t> chroma;  // pairs of Cb and Cr, width / 2 × height / 2 of them
};

class H264Pictures {
 public:
  // In macroblocks of 16 × 16 pixels.
  H264Pictures(uint32_t columns, uint32_t rows) : columns_(columns), rows_(rows) {}

  Frame first() const { return Picture(false); }
  Frame second() const { return Picture(true); }
  // Network abstraction units, each with its start code. Their parameter sets: pictures ordered as they are decoded, frame
  // numbers of four bits, no CABAC, filtering of edges controlled (and off).
  std::vector<uint8_t> FirstSlice() const;   // instantaneous refresh; a reference
  std::vector<uint8_t> SecondSlice() const;  // refers to the first

 private:
  Frame Picture(bool second) const;
  void AppendPixels(uint32_t macroblock, const Frame& frame, std::vector<uint8_t>* out) const;

  const uint32_t columns_;
  const uint32_t rows_;
};

}  // namespace vesper::test
