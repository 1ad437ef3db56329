#include "tests/support/picture.h"

#include <png.h>

#include <cstdlib>
#include <cstring>
#include <stdexcept>

namespace vesper::test {
namespace {

[[noreturn]] void Fail(const char* doing, const std::string& path, png_image* image) {
  const std::string reason = image->message;
  png_image_free(image);
  throw std::runtime_error(std::string(doing) + " " + path + ": " + reason);
}

png_image EmptyImage() {
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  return image;
}

}  // namespace

void WritePng(const Picture& picture, const std::string& path) {
  png_image image = EmptyImage();
  image.width = picture.width;
  image.height = picture.height;
  image.format = PNG_FORMAT_RGBA;
  if (png_image_write_to_file(&image, path.c_str(), 0, picture.rgba.data(), 0, nullptr) == 0) {
    Fail("writing", path, &image);
  }
}

Picture ReadPng(const std::string& path) {
  png_image image = EmptyImage();
  if (png_image_begin_read_from_file(&image, path.c_str()) == 0) Fail("reading", path, &image);
  image.format = PNG_FORMAT_RGBA;
  Picture picture = {image.width, image.height, {}};
  picture.rgba.resize(PNG_IMAGE_SIZE(image));
  if (png_image_finish_read(&image, nullptr, picture.rgba.data(), 0, nullptr) == 0) {
    Fail("reading", path, &image);
  }
  return picture;
}

uint64_t DifferingPixels(const Picture& a, const Picture& b) {
  const uint64_t pixels = uint64_t{a.width} * a.height;
  if (a.width != b.width || a.height != b.height) return pixels;
  uint64_t differing = 0;
  for (uint64_t i = 0; i < pixels; ++i) {
    if (std::memcmp(&a.rgba[i * 4], &b.rgba[i * 4], 4) != 0) ++differing;
  }
  return differing;
}

std::string JudgePicture(const std::string& name, const Picture& picture) {
  if (const char* folder = std::getenv("VULKAN_TEST_PICTURES")) {
    WritePng(picture, std::string(folder) + "/" + name + ".png");
  }
  const char* references = std::getenv("VULKAN_TEST_REFERENCES");
  if (references == nullptr) return "";
  const std::string path = std::string(references) + "/" + name + ".png";
  const uint64_t differing = DifferingPixels(picture, ReadPng(path));
  if (differing == 0) return "";
  return std::to_string(differing) + " pixels differ from " + path;
}

}  // namespace vesper::test
