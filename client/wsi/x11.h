// X windows: what they are like now, and pixels put into them. Everything goes over the application's own connection, whose
// errors are the application's to hear: each request of ours is checked, so that its error comes to us. libxcb and its like are
// loaded when they are first needed; a program without X needs none of them.
//
// Trust: the X server is the application's. Threads: libxcb locks; one XWindow is used by one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "client/wsi/pixels.h"
#include "client/wsi/platform.h"

namespace vesper::client {

struct XGeometry {
  uint32_t width = 0;
  uint32_t height = 0;
  uint8_t depth = 0;
};

// The connection that Xlib's display uses, or nullptr when libX11-xcb is missing.
xcb_connection_t* ConnectionOf(Display* display) noexcept;

// As the X server says now, one round trip to it; nothing when the window or the connection is gone, or libxcb is missing.
std::optional<XGeometry> GeometryOf(xcb_connection_t* connection, xcb_window_t window) noexcept;

// Whether windows of that visual take pixels of four bytes: blue, green, red, and one more.
bool TakesPixels(xcb_connection_t* connection, xcb_visualid_t visual) noexcept;
// The same for the visual of a window, one round trip to the X server; nothing when the window is gone.
std::optional<bool> TakesPixels(xcb_connection_t* connection, xcb_window_t window, bool* opaque) noexcept;

// Puts pictures into one window: through memory shared with the X server where both are on one machine and MIT-SHM takes
// file descriptors (1.2), else in stripes below the largest request.
class XPainter {
 public:
  enum class Outcome { kShown, kResized, kGone };

  // nullptr when libxcb is missing, the window is gone, or memory is exhausted.
  static std::unique_ptr<XPainter> Make(xcb_connection_t* connection, xcb_window_t window, uint32_t width,
                                        uint32_t height, PixelConversion conversion) noexcept;
  ~XPainter();
  XPainter(const XPainter&) = delete;
  XPainter& operator=(const XPainter&) = delete;

  // Shows `pixels`, rows of 4 * width bytes without gaps; they may be reused afterwards. Waits for the X server. kResized: shown
  // in a window whose size is another now.
  Outcome Show(const uint8_t* pixels) noexcept;
  bool shared() const { return segment_ != nullptr; }

 private:
  XPainter(xcb_connection_t* connection, xcb_window_t window, uint32_t width, uint32_t height,
           PixelConversion conversion)
      : connection_(connection), window_(window), width_(width), height_(height), conversion_(conversion) {}
  bool MakeContext() noexcept;
  void MakeSegment() noexcept;
  bool ShowShared(const uint8_t* pixels) noexcept;
  bool ShowStripes(const uint8_t* pixels) noexcept;

  xcb_connection_t* const connection_;
  const xcb_window_t window_;
  const uint32_t width_;
  const uint32_t height_;
  const PixelConversion conversion_;
  uint8_t depth_ = 0;
  uint32_t context_ = 0;
  uint32_t segment_id_ = 0;
  uint8_t* segment_ = nullptr;  // shared with the X server
  std::unique_ptr<uint8_t[]> stripe_;
  uint32_t stripe_rows_ = 0;
};

}  // namespace vesper::client
