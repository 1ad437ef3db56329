// X windows: what they are like now, and pixels put into them. Everything goes over the application's own connection, whose
// errors are the application's to hear: each request of ours is checked, so that its error comes to us. libxcb and its like are
// loaded when they are first needed; a program without X needs none of them.
//
// Trust: the X server is the application's. Threads: libxcb locks; one XWindow is used by one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "client/windows/pixels.h"
#include "client/windows/platform.h"
#include "client/windows/target.h"

namespace vesper::client {

// The connection that Xlib's display uses, or nullptr when libX11-xcb is missing.
xcb_connection_t* ConnectionOf(Display* display) noexcept;

// Whether windows of that visual take pixels of four bytes in one of the orders that are known here.
bool TakesPixels(xcb_connection_t* connection, xcb_visualid_t visual) noexcept;

// Asks the X server in every call, one round trip or two, since windows change.
class XWindow final : public SurfaceTarget {
 public:
  XWindow(xcb_connection_t* connection, xcb_window_t window) : connection_(connection), window_(window) {}
  VkResult Extent(VkExtent2D* extent) noexcept override;
  VkResult Formats(std::vector<VkFormat>* formats) override;
  std::span<const VkPresentModeKHR> modes() const noexcept override;
  VkCompositeAlphaFlagsKHR alphas() const noexcept override {
    return VK_COMPOSITE_ALPHA_OPAQUE_BIT_KHR | VK_COMPOSITE_ALPHA_INHERIT_BIT_KHR;
  }
  VkResult MakePainter(const Painting& painting, std::unique_ptr<Painter>* painter) noexcept override;

 private:
  xcb_connection_t* const connection_;
  const xcb_window_t window_;
};

// Puts pictures into one window: through memory shared with the X server where both are on one machine and MIT-SHM takes
// file descriptors (1.2), else in stripes below the largest request.
class XPainter final : public Painter {
 public:
  // nullptr when libxcb is missing, the window is gone, or memory is exhausted.
  static std::unique_ptr<XPainter> Make(xcb_connection_t* connection, xcb_window_t window, uint32_t width,
                                        uint32_t height, PixelConversion conversion) noexcept;
  ~XPainter() override;

  // Waits for the X server.
  Outcome Show(const uint8_t* pixels) noexcept override;
  bool shared() const { return segment_ != nullptr; }

 private:
  XPainter(xcb_connection_t* connection, xcb_window_t window, uint32_t width, uint32_t height,
           PixelConversion conversion)
      : connection_(connection), window_(window), width_(width), height_(height), conversion_(conversion) {}
  bool MakeContext() noexcept;
  void MakeSegment() noexcept;
  void SendShared(const uint8_t* pixels) noexcept;
  void SendStripes(const uint8_t* pixels) noexcept;

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
  std::vector<unsigned> requests_;  // whose errors are ours to take
};

}  // namespace vesper::client
