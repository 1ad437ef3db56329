// libturbojpeg by name, loaded when a program wants pictures that come as JPEG (VESPER_FRAMES=near).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace vesper::client {

// Unpacks what a server sent. One thread at a time.
class JpegReader {
 public:
  // nullptr when the library is missing, or memory is exhausted.
  static std::unique_ptr<JpegReader> Make() noexcept;
  ~JpegReader();
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  // Rows of `width` pixels of four bytes without gaps, red or blue first, 255 last; valid until the next call. nullptr for what is
  // no JPEG of exactly that size. May throw std::bad_alloc.
  const uint8_t* Read(std::span<const uint8_t> jpeg, uint32_t width, uint32_t height, bool red_first);

 private:
  explicit JpegReader(void* decompressor) : decompressor_(decompressor) {}
  void* const decompressor_;
  std::vector<uint8_t> pixels_;
};

}  // namespace vesper::client
