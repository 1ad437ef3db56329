#include "client/memory/jpeg_library.h"

#include <dlfcn.h>

#include <new>

#ifdef VESPER_TURBOJPEG
#include <turbojpeg.h>
#endif

namespace vesper::client {

#ifdef VESPER_TURBOJPEG
namespace {

struct Library {
  decltype(&::tjInitDecompress) init = nullptr;
  decltype(&::tjDecompressHeader3) header = nullptr;
  decltype(&::tjDecompress2) decompress = nullptr;
  decltype(&::tjDestroy) destroy = nullptr;
};

template <typename Function>
bool Find(void* library, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(dlsym(library, name));
  return *function != nullptr;
}

// The library stays loaded: the application may have it too.
bool Load(Library* jpeg) {
  void* library = dlopen("libturbojpeg.so.0", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  return library != nullptr && Find(library, "tjInitDecompress", &jpeg->init) &&
         Find(library, "tjDecompressHeader3", &jpeg->header) && Find(library, "tjDecompress2", &jpeg->decompress) &&
         Find(library, "tjDestroy", &jpeg->destroy);
}

const Library* Jpeg() noexcept {
  static Library library;
  static const bool loaded = Load(&library);
  return loaded ? &library : nullptr;
}

}  // namespace

std::unique_ptr<JpegReader> JpegReader::Make() noexcept {
  const Library* jpeg = Jpeg();
  void* made = jpeg == nullptr ? nullptr : jpeg->init();
  if (made == nullptr) return nullptr;
  std::unique_ptr<JpegReader> reader(new (std::nothrow) JpegReader(made));
  if (reader == nullptr) jpeg->destroy(made);
  return reader;
}

JpegReader::~JpegReader() { Jpeg()->destroy(decompressor_); }

const uint8_t* JpegReader::Read(std::span<const uint8_t> jpeg, uint32_t width, uint32_t height, bool red_first) {
  int has_width = 0;
  int has_height = 0;
  int subsampling = 0;
  int colours = 0;
  if (Jpeg()->header(decompressor_, jpeg.data(), jpeg.size(), &has_width, &has_height, &subsampling, &colours) != 0 ||
      has_width != static_cast<int>(width) || has_height != static_cast<int>(height)) {
    return nullptr;
  }
  pixels_.resize(size_t{width} * height * 4);
  const int read = Jpeg()->decompress(decompressor_, jpeg.data(), jpeg.size(), pixels_.data(), has_width, 0, has_height,
                                      red_first ? TJPF_RGBA : TJPF_BGRA, TJFLAG_STOPONWARNING);
  return read == 0 ? pixels_.data() : nullptr;
}

#else

std::unique_ptr<JpegReader> JpegReader::Make() noexcept { return nullptr; }
JpegReader::~JpegReader() = default;
const uint8_t* JpegReader::Read(std::span<const uint8_t>, uint32_t, uint32_t, bool) { return nullptr; }

#endif

}  // namespace vesper::client
