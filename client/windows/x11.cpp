#include "client/windows/x11.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <new>
#include <optional>

#include "client/base/limits.h"
#include "client/windows/pixels.h"
#include "client/windows/xcb_library.h"

namespace vesper::client {
namespace {

struct Free {
  void operator()(void* reply) const { std::free(reply); }
};
template <typename T>
using Owned = std::unique_ptr<T, Free>;

// Waits for the X server to have handled the request.
bool Succeeds(const XcbLibrary& xcb, xcb_connection_t* connection, xcb_void_cookie_t cookie) {
  const Owned<xcb_generic_error_t> error(xcb.request_check(connection, cookie));
  return error == nullptr && xcb.connection_has_error(connection) == 0;
}

// What pixels of a visual are.
struct PixelsOf {
  uint8_t depth = 0;
  enum class Order : uint8_t {
    kUnknown,
    kBytes,
    kTens
  } order = Order::kUnknown;  // B, G, R, one more; 10 bits of each and 2
};

PixelsOf OrderOf(const xcb_visualtype_t& visual, uint8_t depth) {
  const bool direct = visual._class == XCB_VISUAL_CLASS_TRUE_COLOR || visual._class == XCB_VISUAL_CLASS_DIRECT_COLOR;
  const auto has = [&](uint32_t red, uint32_t green, uint32_t blue) {
    return direct && visual.red_mask == red && visual.green_mask == green && visual.blue_mask == blue;
  };
  if (has(0xff0000, 0xff00, 0xff)) return {depth, PixelsOf::Order::kBytes};
  if (has(0x3ff00000, 0xffc00, 0x3ff)) return {depth, PixelsOf::Order::kTens};
  return {depth, PixelsOf::Order::kUnknown};
}

// Whether pictures of that depth have four bytes a pixel and rows without gaps.
bool HasPlainRows(const XcbLibrary& xcb, const xcb_setup_t* setup, uint8_t depth) {
  const xcb_format_t* formats = xcb.setup_pixmap_formats(setup);
  for (int i = 0; i < xcb.setup_pixmap_formats_length(setup); ++i) {
    if (formats[i].depth == depth) return formats[i].bits_per_pixel == 32 && formats[i].scanline_pad <= 32;
  }
  return false;
}

// Of an order that is not known when the visual is none of the screen's, or its pictures are not four bytes a pixel.
PixelsOf PixelsOfVisual(const XcbLibrary& xcb, xcb_connection_t* connection, xcb_visualid_t wanted) {
  const xcb_setup_t* setup = xcb.get_setup(connection);
  if (setup == nullptr || setup->image_byte_order != XCB_IMAGE_ORDER_LSB_FIRST) return {};
  for (auto screen = xcb.setup_roots_iterator(setup); screen.rem != 0; xcb.screen_next(&screen)) {
    for (auto depth = xcb.screen_allowed_depths_iterator(screen.data); depth.rem != 0; xcb.depth_next(&depth)) {
      const xcb_visualtype_t* visuals = xcb.depth_visuals(depth.data);
      for (int i = 0; i < xcb.depth_visuals_length(depth.data); ++i) {
        if (visuals[i].visual_id != wanted) continue;
        return HasPlainRows(xcb, setup, depth.data->depth) ? OrderOf(visuals[i], depth.data->depth) : PixelsOf{};
      }
    }
  }
  return {};
}

// One round trip to the X server; nothing when the window or the connection is gone, or libxcb is missing.
std::optional<PixelsOf> PixelsOfWindow(xcb_connection_t* connection, xcb_window_t window) {
  const XcbLibrary* xcb = Xcb();
  if (xcb == nullptr) return std::nullopt;
  xcb_generic_error_t* error = nullptr;
  const Owned<xcb_get_window_attributes_reply_t> reply(
      xcb->get_window_attributes_reply(connection, xcb->get_window_attributes(connection, window), &error));
  std::free(error);
  if (reply == nullptr) return std::nullopt;
  return PixelsOfVisual(*xcb, connection, reply->visual);
}

struct XGeometry {
  uint32_t width = 0;
  uint32_t height = 0;
  uint8_t depth = 0;
};

// As above.
std::optional<XGeometry> GeometryOf(xcb_connection_t* connection, xcb_window_t window) {
  const XcbLibrary* xcb = Xcb();
  if (xcb == nullptr) return std::nullopt;
  xcb_generic_error_t* error = nullptr;
  const Owned<xcb_get_geometry_reply_t> reply(
      xcb->get_geometry_reply(connection, xcb->get_geometry(connection, window), &error));
  std::free(error);
  if (reply == nullptr) return std::nullopt;
  return XGeometry{reply->width, reply->height, reply->depth};
}

// File descriptors travel over Unix sockets alone.
bool IsLocal(const XcbLibrary& xcb, xcb_connection_t* connection) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  return getsockname(xcb.get_file_descriptor(connection), reinterpret_cast<sockaddr*>(&address), &size) == 0 &&
         address.ss_family == AF_UNIX;
}

bool SharesDescriptors(const XcbLibrary& xcb, xcb_connection_t* connection) {
  if (xcb.shm_id == nullptr || !IsLocal(xcb, connection)) return false;
  const xcb_query_extension_reply_t* extension = xcb.get_extension_data(connection, xcb.shm_id);
  if (extension == nullptr || extension->present == 0) return false;
  const Owned<xcb_shm_query_version_reply_t> version(
      xcb.shm_query_version_reply(connection, xcb.shm_query_version(connection), nullptr));
  return version != nullptr && (version->major_version > 1 || version->minor_version >= 2);
}

}  // namespace

bool TakesPixels(xcb_connection_t* connection, xcb_visualid_t visual) noexcept {
  const XcbLibrary* xcb = Xcb();
  if (xcb == nullptr || xcb->connection_has_error(connection) != 0) return false;
  return PixelsOfVisual(*xcb, connection, visual).order != PixelsOf::Order::kUnknown;
}

// --- windows -------------------------------------------------------------------------------------------------------------

VkResult XWindow::Extent(VkExtent2D* extent) noexcept {
  const std::optional<XGeometry> geometry = GeometryOf(connection_, window_);
  if (!geometry) return VK_ERROR_SURFACE_LOST_KHR;
  *extent = {geometry->width, geometry->height};
  return VK_SUCCESS;
}

VkResult XWindow::Formats(std::vector<VkFormat>* formats) {
  const std::optional<PixelsOf> pixels = PixelsOfWindow(connection_, window_);
  if (!pixels) return VK_ERROR_SURFACE_LOST_KHR;
  if (pixels->order == PixelsOf::Order::kBytes) formats->assign(std::begin(kPlainFormats), std::end(kPlainFormats));
  if (pixels->order == PixelsOf::Order::kTens) formats->assign(1, VK_FORMAT_A2R10G10B10_UNORM_PACK32);
  return VK_SUCCESS;
}

std::span<const VkPresentModeKHR> XWindow::modes() const noexcept {
  static constexpr VkPresentModeKHR kModes[] = {VK_PRESENT_MODE_IMMEDIATE_KHR, VK_PRESENT_MODE_MAILBOX_KHR,
                                                VK_PRESENT_MODE_FIFO_KHR};
  return kModes;
}

VkResult XWindow::MakePainter(const Painting& painting, std::unique_ptr<Painter>* painter) noexcept {
  const std::optional<PixelsOf> pixels = PixelsOfWindow(connection_, window_);
  if (!pixels) return VK_ERROR_SURFACE_LOST_KHR;
  const bool tens = painting.format == VK_FORMAT_A2R10G10B10_UNORM_PACK32;
  if (pixels->order != (tens ? PixelsOf::Order::kTens : PixelsOf::Order::kBytes)) return VK_ERROR_INITIALIZATION_FAILED;
  const bool opaque = pixels->depth == 32 && painting.alpha == VK_COMPOSITE_ALPHA_OPAQUE_BIT_KHR;
  *painter = XPainter::Make(connection_, window_, painting.extent.width, painting.extent.height,
                            {.swap_red_blue = HasRedFirst(painting.format), .opaque = opaque});
  return *painter == nullptr ? VK_ERROR_SURFACE_LOST_KHR : VK_SUCCESS;
}

// --- painting ------------------------------------------------------------------------------------------------------------

std::unique_ptr<XPainter> XPainter::Make(xcb_connection_t* connection, xcb_window_t window, uint32_t width,
                                         uint32_t height, PixelConversion conversion) noexcept {
  const std::optional<XGeometry> geometry = GeometryOf(connection, window);
  if (!geometry) return nullptr;
  std::unique_ptr<XPainter> painter(new (std::nothrow) XPainter(connection, window, width, height, conversion));
  if (painter == nullptr) return nullptr;
  painter->depth_ = geometry->depth;
  if (!painter->MakeContext()) return nullptr;
  if (SharesDescriptors(*Xcb(), connection)) painter->MakeSegment();
  try {
    if (painter->shared()) {
      painter->requests_.reserve(1);
      return painter;
    }
    const uint64_t row = uint64_t{width} * kBytesPerPixel;
    const uint64_t request = std::clamp<uint64_t>(uint64_t{Xcb()->get_maximum_request_length(connection)} * 4,
                                                  limits::kMinRequestBytes, limits::kMaxRequestBytes);
    const uint64_t room = request - std::min<uint64_t>(request, 2 * sizeof(xcb_put_image_request_t));
    painter->stripe_rows_ = static_cast<uint32_t>(std::clamp<uint64_t>(room / row, 1, height));
    painter->stripe_.reset(new uint8_t[painter->stripe_rows_ * row]);
    painter->requests_.reserve((height + painter->stripe_rows_ - 1) / painter->stripe_rows_);
    return painter;
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

XPainter::~XPainter() {
  const XcbLibrary& xcb = *Xcb();
  if (context_ != 0) Succeeds(xcb, connection_, xcb.free_gc_checked(connection_, context_));
  if (segment_ == nullptr) return;
  Succeeds(xcb, connection_, xcb.shm_detach_checked(connection_, segment_id_));
  munmap(segment_, size_t{width_} * height_ * kBytesPerPixel);
}

bool XPainter::MakeContext() noexcept {
  const XcbLibrary& xcb = *Xcb();
  const uint32_t id = xcb.generate_id(connection_);
  const uint32_t exposures = 0;
  if (!Succeeds(xcb, connection_,
                xcb.create_gc_checked(connection_, id, window_, XCB_GC_GRAPHICS_EXPOSURES, &exposures))) {
    return false;
  }
  context_ = id;
  return true;
}

// Without success pictures go through the socket.
void XPainter::MakeSegment() noexcept {
  const size_t size = size_t{width_} * height_ * kBytesPerPixel;
  const int memory = memfd_create("vesper-window", MFD_CLOEXEC);
  if (memory < 0) return;
  // Allocated now, so that exhaustion is an error here and no SIGBUS later.
  if (posix_fallocate(memory, 0, static_cast<off_t>(size)) != 0) {
    close(memory);
    return;
  }
  void* mapped = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
  if (mapped == MAP_FAILED) {
    close(memory);
    return;
  }
  madvise(mapped, size, MADV_DONTFORK);
  const XcbLibrary& xcb = *Xcb();
  segment_id_ = xcb.generate_id(connection_);
  // The descriptor is libxcb's from here on.
  if (!Succeeds(xcb, connection_, xcb.shm_attach_fd_checked(connection_, segment_id_, memory, 1))) {
    munmap(mapped, size);
    return;
  }
  segment_ = static_cast<uint8_t*>(mapped);
}

// One round trip: the reply about the window's size comes after what was asked before, and its errors.
Painter::Outcome XPainter::Show(const uint8_t* pixels) noexcept {
  const XcbLibrary& xcb = *Xcb();
  requests_.clear();  // whose capacity suffices
  if (shared()) {
    SendShared(pixels);
  } else {
    SendStripes(pixels);
  }
  const std::optional<XGeometry> now = GeometryOf(connection_, window_);
  for (const unsigned request : requests_) std::free(xcb.request_check(connection_, {request}));
  if (!now) return Outcome::kGone;
  return now->width == width_ && now->height == height_ ? Outcome::kShown : Outcome::kResized;
}

void XPainter::SendShared(const uint8_t* pixels) noexcept {
  const auto width = static_cast<uint16_t>(width_);
  const auto height = static_cast<uint16_t>(height_);
  ConvertPixels(segment_, pixels, size_t{width_} * height_, conversion_);
  requests_.push_back(Xcb()
                          ->shm_put_image_checked(connection_, window_, context_, width, height, 0, 0, width, height, 0,
                                                  0, depth_, XCB_IMAGE_FORMAT_Z_PIXMAP, 0, segment_id_, 0)
                          .sequence);
}

void XPainter::SendStripes(const uint8_t* pixels) noexcept {
  for (uint32_t row = 0; row < height_; row += stripe_rows_) {
    const uint32_t rows = std::min(stripe_rows_, height_ - row);
    const size_t offset = size_t{row} * width_ * kBytesPerPixel;
    const size_t size = size_t{rows} * width_ * kBytesPerPixel;
    ConvertPixels(stripe_.get(), pixels + offset, size_t{rows} * width_, conversion_);
    // libxcb has copied or written the bytes when it returns.
    requests_.push_back(Xcb()
                            ->put_image_checked(connection_, XCB_IMAGE_FORMAT_Z_PIXMAP, window_, context_,
                                                static_cast<uint16_t>(width_), static_cast<uint16_t>(rows), 0,
                                                static_cast<int16_t>(row), 0, depth_, static_cast<uint32_t>(size),
                                                stripe_.get())
                            .sequence);
  }
}

}  // namespace vesper::client
