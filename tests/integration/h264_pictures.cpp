#include "tests/integration/h264_pictures.h"

#include <bit>
#include <span>

namespace vesper::test {
namespace {

// What ITU-T H.264 calls RBSP: bits, the most significant first.
class Bits {
 public:
  void Fixed(uint32_t value, int count) {
    for (int i = count - 1; i >= 0; --i) Bit(value >> i & 1);
  }
  // Exp-Golomb, ue(v).
  void Number(uint32_t value) {
    const int length = std::bit_width(value + 1);
    Fixed(0, length - 1);
    Fixed(value + 1, length);
  }
  void Align() {
    while (used_ != 0) Bit(0);
  }
  void End() {  // rbsp_trailing_bits
    Bit(1);
    Align();
  }
  std::vector<uint8_t>* bytes() { return &bytes_; }  // only when aligned

 private:
  void Bit(uint32_t bit) {
    if (used_ == 0) bytes_.push_back(0);
    bytes_.back() = static_cast<uint8_t>(bytes_.back() | bit << (7 - used_));
    used_ = (used_ + 1) % 8;
  }

  std::vector<uint8_t> bytes_;
  int used_ = 0;
};

std::vector<uint8_t> Unit(uint8_t header, std::span<const uint8_t> contents) {
  std::vector<uint8_t> unit = {0, 0, 1, header};
  int zeros = 0;
  for (const uint8_t byte : contents) {
    if (zeros >= 2 && byte <= 3) {  // it would look like a start code
      unit.push_back(3);
      zeros = 0;
    }
    unit.push_back(byte);
    zeros = byte == 0 ? zeros + 1 : 0;
  }
  return unit;
}

constexpr uint32_t kIntra = 7, kPredicted = 5;  // slice_type: of all slices of the picture
constexpr uint32_t kPlainInIntra = 25;          // mb_type I_PCM
constexpr uint32_t kPlainInPredicted = 30;

}  // namespace

Frame H264Pictures::Picture(bool second) const {
  const uint32_t width = columns_ * 16, height = rows_ * 16;
  Frame frame;
  for (uint32_t y = 0; y < height; ++y) {
    for (uint32_t x = 0; x < width; ++x) {
      const bool other = second && x < 16 && y < 16;
      frame.luma.push_back(static_cast<uint8_t>(16 + (x * 7 + y * 13 + (x * y >> 3) + (other ? 101 : 0)) % 220));
    }
  }
  for (uint32_t y = 0; y < height / 2; ++y) {
    for (uint32_t x = 0; x < width / 2; ++x) {
      const bool other = second && x < 8 && y < 8;
      frame.chroma.push_back(static_cast<uint8_t>(16 + (x * 5 + y * 3 + (other ? 50 : 0)) % 220));
      frame.chroma.push_back(static_cast<uint8_t>(16 + (x * 3 + y * 11 + (other ? 77 : 0)) % 220));
    }
  }
  return frame;
}

void H264Pictures::AppendPixels(uint32_t macroblock, const Frame& frame, std::vector<uint8_t>* out) const {
  const uint32_t left = macroblock % columns_ * 16, top = macroblock / columns_ * 16, width = columns_ * 16;
  for (uint32_t y = 0; y < 16; ++y) {
    for (uint32_t x = 0; x < 16; ++x) out->push_back(frame.luma[(top + y) * width + left + x]);
  }
  for (uint32_t plane = 0; plane < 2; ++plane) {
    for (uint32_t y = 0; y < 8; ++y) {
      for (uint32_t x = 0; x < 8; ++x) out->push_back(frame.chroma[(top / 2 + y) * width + left + 2 * x + plane]);
    }
  }
}

std::vector<uint8_t> H264Pictures::FirstSlice() const {
  const Frame frame = first();
  Bits bits;
  bits.Number(0);  // first_mb_in_slice
  bits.Number(kIntra);
  bits.Number(0);    // pic_parameter_set_id
  bits.Fixed(0, 4);  // frame_num
  bits.Number(0);    // idr_pic_id
  bits.Fixed(0, 2);  // no_output_of_prior_pics_flag, long_term_reference_flag
  bits.Number(0);    // slice_qp_delta
  bits.Number(1);    // disable_deblocking_filter_idc
  for (uint32_t i = 0; i < columns_ * rows_; ++i) {
    bits.Number(kPlainInIntra);
    bits.Align();
    AppendPixels(i, frame, bits.bytes());
  }
  bits.End();
  return Unit(0x65, *bits.bytes());
}

std::vector<uint8_t> H264Pictures::SecondSlice() const {
  Bits bits;
  bits.Number(0);  // first_mb_in_slice
  bits.Number(kPredicted);
  bits.Number(0);    // pic_parameter_set_id
  bits.Fixed(1, 4);  // frame_num
  bits.Fixed(
      0, 3);  // num_ref_idx_active_override_flag, ref_pic_list_modification_flag_l0, adaptive_ref_pic_marking_mode_flag
  bits.Number(0);  // slice_qp_delta
  bits.Number(1);  // disable_deblocking_filter_idc
  bits.Number(0);  // mb_skip_run
  bits.Number(kPlainInPredicted);
  bits.Align();
  AppendPixels(0, second(), bits.bytes());
  bits.Number(columns_ * rows_ - 1);  // the others are skipped: they are as in the first picture
  bits.End();
  return Unit(0x61, *bits.bytes());
}

}  // namespace vesper::test
