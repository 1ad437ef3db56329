// vesper-filter OUTPUT.png [INPUT.png]: finds the edges of a picture on the GPU. Without an input
// it filters one of its own.
#include <png.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "shaders/filter_comp.h"
#include "vesper/compute.h"

namespace {

using namespace vesper::compute;  // NOLINT: an example

struct Picture {
  uint32_t width = 640;
  uint32_t height = 480;
  std::vector<uint32_t> pixels;  // RGBA8, rows from the top
};

// libpng's simplified interface.
struct Png : png_image {
  Png() : png_image() { version = PNG_IMAGE_VERSION; }
  ~Png() { png_image_free(this); }
  void Check(int success, const char* path) const {
    if (success == 0) throw std::runtime_error(std::string(path) + ": " + message);
  }
};

Picture Read(const char* path) {
  Png png;
  png.Check(png_image_begin_read_from_file(&png, path), path);
  png.format = PNG_FORMAT_RGBA;
  Picture picture{png.width, png.height, std::vector<uint32_t>(size_t{png.width} * png.height)};
  png.Check(png_image_finish_read(&png, nullptr, picture.pixels.data(), 0, nullptr), path);
  return picture;
}

void Write(const Picture& picture, const char* path) {
  Png png;
  png.width = picture.width;
  png.height = picture.height;
  png.format = PNG_FORMAT_RGBA;
  png.Check(png_image_write_to_file(&png, path, 0, picture.pixels.data(), 0, nullptr), path);
}

// Coloured rings.
Picture Draw() {
  Picture picture;
  for (uint32_t y = 0; y < picture.height; ++y) {
    for (uint32_t x = 0; x < picture.width; ++x) {
      const double distance = std::hypot(x - 320.0, y - 240.0);
      const bool ring = static_cast<int>(distance / 40) % 2 == 0;
      const uint32_t red = x * 255 / picture.width, green = y * 255 / picture.height;
      picture.pixels.push_back(0xFF000000 | (ring ? 0xC0u : 0x20u) << 16 | green << 8 | red);
    }
  }
  return picture;
}

Picture Filter(const Picture& input) {
  const Device device;
  std::printf("filtering %ux%u pixels on %s\n", input.width, input.height, device.description().name.c_str());
  const Kernel kernel(device, filter_comp, {.name = "filter"});
  Buffer from(device, input.pixels.size() * 4);
  const Buffer to(device, input.pixels.size() * 4);
  from.Upload(std::span(input.pixels));
  const uint32_t push[] = {input.width, input.height};
  kernel.Launch({from, to}, Grid::Threads(input.width, input.height), PushBytes(push));
  Picture output = input;
  to.Download(std::span(output.pixels));
  return output;
}

}  // namespace

int main(int argc, char** argv) try {
  std::string output, input;
  CLI::App app("Finds the edges of a picture on a GPU.");
  app.add_option("output", output, "a PNG file to write")->required();
  app.add_option("input", input, "a PNG file to read (a picture of its own)");
  CLI11_PARSE(app, argc, argv);
  Write(Filter(input.empty() ? Draw() : Read(input.c_str())), output.c_str());
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "vesper-filter: %s\n", error.what());
  return 1;
}
