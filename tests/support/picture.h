// Pictures as PNG files: what a test rendered, and what it compares with.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace vesper::test {

struct Picture {
  uint32_t width = 0;
  uint32_t height = 0;
  std::vector<uint8_t> rgba;  // width * height * 4, rows from the top
};

// Both throw std::runtime_error naming the file.
void WritePng(const Picture& picture, const std::string& path);
Picture ReadPng(const std::string& path);

// How many pixels differ; all of them if the sizes do.
uint64_t DifferingPixels(const Picture& a, const Picture& b);

// What becomes of a picture called `name`, by environment: VULKAN_TEST_PICTURES=DIR writes
// DIR/name.png; VULKAN_TEST_REFERENCES=DIR compares it with DIR/name.png, pixel for pixel. Returns
// "" or what is wrong.
std::string JudgePicture(const std::string& name, const Picture& picture);

}  // namespace vesper::test
