// Programs that show pictures: what they present is what an X server then has in the window, pixel for pixel. Needs a DISPLAY
// (tests/support/with_xvfb.sh). Resize and AcquireHonoursItsTimeout hold for this client: other drivers may have more images
// than were asked for, or notice another size later.
#define VK_USE_PLATFORM_XCB_KHR
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <xcb/xcb.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "tests/integration/gpu_test.h"
#include "tests/support/swapchain.h"

namespace vesper::test {
namespace {

using Colour = std::array<uint8_t, 3>;
constexpr uint32_t kWidth = 200, kHeight = 100;
constexpr Colour kRed = {200, 10, 20}, kGreen = {30, 220, 40}, kBlue = {50, 60, 240};

struct FreeReply {
  void operator()(void* reply) const { std::free(reply); }
};

class WindowTest : public GpuTest {
 protected:
  void SetUp() override {
    connection_ = xcb_connect(nullptr, nullptr);
    ASSERT_EQ(xcb_connection_has_error(connection_), 0) << "no X server";
    ContextOptions options;
    options.instance_extensions = {VK_KHR_SURFACE_EXTENSION_NAME, VK_KHR_XCB_SURFACE_EXTENSION_NAME};
    options.device_extensions = {VK_KHR_SWAPCHAIN_EXTENSION_NAME};
    Open(options);
  }
  void TearDown() override {
    for (const VkSurfaceKHR surface : surfaces_) vkDestroySurfaceKHR(gpu().instance(), surface, nullptr);
    GpuTest::TearDown();
    // Errors of requests that the driver made over our connection would be ours to hear.
    while (auto* event = xcb_poll_for_event(connection_)) {
      EXPECT_NE(event->response_type, 0) << "an X error: "
                                         << int{reinterpret_cast<xcb_generic_error_t*>(event)->error_code};
      std::free(event);
    }
    xcb_disconnect(connection_);
  }

  const xcb_screen_t* Screen() { return xcb_setup_roots_iterator(xcb_get_setup(connection_)).data; }
  xcb_window_t MakeWindow(uint32_t width = kWidth, uint32_t height = kHeight, int16_t x = 0) {
    const xcb_screen_t* screen = Screen();
    const xcb_window_t window = xcb_generate_id(connection_);
    const uint32_t unmanaged = 1;
    xcb_create_window(connection_, XCB_COPY_FROM_PARENT, window, screen->root, x, 0, static_cast<uint16_t>(width),
                      static_cast<uint16_t>(height), 0, XCB_WINDOW_CLASS_INPUT_OUTPUT, screen->root_visual,
                      XCB_CW_OVERRIDE_REDIRECT, &unmanaged);
    xcb_map_window(connection_, window);
    Sync();
    return window;
  }
  // With a fourth byte that is alpha; nothing where the screen has no such windows.
  std::optional<xcb_window_t> MakeDeepWindow() {
    constexpr uint8_t kDepth = 32;
    for (auto depth = xcb_screen_allowed_depths_iterator(Screen()); depth.rem != 0; xcb_depth_next(&depth)) {
      if (depth.data->depth != kDepth || xcb_depth_visuals_length(depth.data) == 0) continue;
      const xcb_visualid_t visual = xcb_depth_visuals(depth.data)->visual_id;
      const xcb_colormap_t colours = xcb_generate_id(connection_);
      xcb_create_colormap(connection_, XCB_COLORMAP_ALLOC_NONE, colours, Screen()->root, visual);
      const xcb_window_t window = xcb_generate_id(connection_);
      const uint32_t values[] = {0, 1, colours};  // in the order of their bits
      xcb_create_window(connection_, kDepth, window, Screen()->root, 0, 0, kWidth, kHeight, 0,
                        XCB_WINDOW_CLASS_INPUT_OUTPUT, visual,
                        XCB_CW_BORDER_PIXEL | XCB_CW_OVERRIDE_REDIRECT | XCB_CW_COLORMAP, values);
      xcb_map_window(connection_, window);
      Sync();
      return window;
    }
    return std::nullopt;
  }
  void Resize(xcb_window_t window, uint32_t width, uint32_t height) {
    const uint32_t size[] = {width, height};
    xcb_configure_window(connection_, window, XCB_CONFIG_WINDOW_WIDTH | XCB_CONFIG_WINDOW_HEIGHT, size);
    Sync();
  }
  void Destroy(xcb_window_t window) {
    xcb_destroy_window(connection_, window);
    Sync();
  }
  void Sync() { std::free(xcb_get_input_focus_reply(connection_, xcb_get_input_focus(connection_), nullptr)); }

  VkSurfaceKHR MakeSurface(xcb_window_t window) {
    VkXcbSurfaceCreateInfoKHR info = {};
    info.sType = VK_STRUCTURE_TYPE_XCB_SURFACE_CREATE_INFO_KHR;
    info.connection = connection_;
    info.window = window;
    const auto create =
        gpu()
            .InstanceFunction<VkResult (*)(VkInstance, const VkXcbSurfaceCreateInfoKHR*, const VkAllocationCallbacks*,
                                           VkSurfaceKHR*)>("vkCreateXcbSurfaceKHR");
    VkSurfaceKHR surface = VK_NULL_HANDLE;
    VK_CHECK(create(gpu().instance(), &info, nullptr, &surface));
    surfaces_.push_back(surface);
    VkBool32 supported = VK_FALSE;
    VK_CHECK(vkGetPhysicalDeviceSurfaceSupportKHR(gpu().physical_device(), gpu().queue_family(), surface, &supported));
    EXPECT_EQ(supported, VK_TRUE);
    return surface;
  }

  // The pixel of the window on the screen.
  uint32_t Pixel(xcb_window_t window, int16_t x, int16_t y) {
    const std::unique_ptr<xcb_get_image_reply_t, FreeReply> reply(xcb_get_image_reply(
        connection_, xcb_get_image(connection_, XCB_IMAGE_FORMAT_Z_PIXMAP, window, x, y, 1, 1, ~0u), nullptr));
    if (reply == nullptr) throw std::runtime_error("the window cannot be read");
    uint32_t pixel = 0;
    std::memcpy(&pixel, xcb_get_image_data(reply.get()), sizeof(pixel));
    return pixel;
  }
  Colour At(xcb_window_t window, int16_t x, int16_t y) {
    const uint32_t pixel = Pixel(window, x, y);
    return {static_cast<uint8_t>(pixel >> 16), static_cast<uint8_t>(pixel >> 8), static_cast<uint8_t>(pixel)};
  }
  // Presents are shown some time after they were asked for.
  Colour Await(xcb_window_t window, int16_t x, int16_t y, Colour wanted) {
    Colour seen = At(window, x, y);
    for (int i = 0; i < 500 && seen != wanted; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      seen = At(window, x, y);
    }
    return seen;
  }
  // Everything of `colour` but the left upper quarter.
  void ExpectPicture(xcb_window_t window, Colour colour, Colour corner) {
    EXPECT_EQ(Await(window, 1, 1, corner), corner);
    EXPECT_EQ(At(window, kWidth / 2 - 1, kHeight / 2 - 1), corner);
    EXPECT_EQ(At(window, kWidth / 2, kHeight / 2 - 1), colour);
    EXPECT_EQ(At(window, kWidth / 2 - 1, kHeight / 2), colour);
    EXPECT_EQ(At(window, kWidth - 1, kHeight - 1), colour);
  }

  xcb_connection_t* connection_ = nullptr;
  std::vector<VkSurfaceKHR> surfaces_;
};

TEST_F(WindowTest, WhatIsPresentedIsShown) {
  const xcb_window_t window = MakeWindow();
  const VkSurfaceKHR surface = MakeSurface(window);
  for (const VkPresentModeKHR mode :
       {VK_PRESENT_MODE_IMMEDIATE_KHR, VK_PRESENT_MODE_MAILBOX_KHR, VK_PRESENT_MODE_FIFO_KHR}) {
    SCOPED_TRACE(mode);
    SwapchainOptions options;
    options.mode = mode;
    Swapchain swapchain(gpu(), surface, options);
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(swapchain.Frame(kRed, kGreen), VK_SUCCESS);
      ExpectPicture(window, kRed, kGreen);
      EXPECT_EQ(swapchain.Frame(kGreen, kBlue), VK_SUCCESS);
      ExpectPicture(window, kGreen, kBlue);
    }
  }
}

// Every format that a surface has, not only the first.
TEST_F(WindowTest, EveryFormat) {
  const xcb_window_t window = MakeWindow();
  const VkSurfaceKHR surface = MakeSurface(window);
  uint32_t count = 0;
  VK_CHECK(vkGetPhysicalDeviceSurfaceFormatsKHR(gpu().physical_device(), surface, &count, nullptr));
  std::vector<VkSurfaceFormatKHR> formats(count);
  VK_CHECK(vkGetPhysicalDeviceSurfaceFormatsKHR(gpu().physical_device(), surface, &count, formats.data()));
  ASSERT_FALSE(formats.empty());
  for (const VkSurfaceFormatKHR& format : formats) {
    SCOPED_TRACE(format.format);
    SwapchainOptions options;
    options.format = format.format;
    Swapchain swapchain(gpu(), surface, options);
    // 0 and 255 are the same in sRGB and without.
    EXPECT_EQ(swapchain.Frame({255, 0, 0}, {0, 0, 255}), VK_SUCCESS);
    ExpectPicture(window, {255, 0, 0}, {0, 0, 255});
    Swapchain after(gpu(), surface, SwapchainOptions{.old = swapchain.handle()});
    EXPECT_EQ(after.Frame(kGreen, kGreen), VK_SUCCESS);
    ExpectPicture(window, kGreen, kGreen);
  }
}

// What destroying a swapchain leaves is the last picture, however many wait.
TEST_F(WindowTest, TheLastPictureStays) {
  const xcb_window_t window = MakeWindow();
  const VkSurfaceKHR surface = MakeSurface(window);
  SwapchainOptions options;
  options.mode = VK_PRESENT_MODE_FIFO_KHR;
  {
    Swapchain swapchain(gpu(), surface, options);
    for (int i = 0; i < 5; ++i) EXPECT_EQ(swapchain.Frame(i == 4 ? kBlue : kRed, i == 4 ? kGreen : kRed), VK_SUCCESS);
  }
  ExpectPicture(window, kBlue, kGreen);
}

TEST_F(WindowTest, TwoSwapchains) {
  const xcb_window_t left = MakeWindow(), right = MakeWindow(kWidth, kHeight, kWidth);
  Swapchain first(gpu(), MakeSurface(left), {});
  Swapchain second(gpu(), MakeSurface(right), {});
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(first.Frame(kRed, kGreen), VK_SUCCESS);
    EXPECT_EQ(second.Frame(kGreen, kBlue), VK_SUCCESS);
  }
  ExpectPicture(left, kRed, kGreen);
  ExpectPicture(right, kGreen, kBlue);
}

TEST_F(WindowTest, Resize) {
  const xcb_window_t window = MakeWindow();
  const VkSurfaceKHR surface = MakeSurface(window);
  Swapchain swapchain(gpu(), surface, {});
  EXPECT_EQ(swapchain.Frame(kRed, kRed), VK_SUCCESS);
  Resize(window, 300, 150);
  VkSurfaceCapabilitiesKHR capabilities = {};
  VK_CHECK(vkGetPhysicalDeviceSurfaceCapabilitiesKHR(gpu().physical_device(), surface, &capabilities));
  EXPECT_EQ(capabilities.currentExtent.width, 300u);
  EXPECT_EQ(capabilities.currentExtent.height, 150u);
  VkResult result = VK_SUCCESS;
  for (int i = 0; i < 100 && result == VK_SUCCESS; ++i) result = swapchain.Frame(kGreen, kGreen);
  EXPECT_EQ(result, VK_SUBOPTIMAL_KHR);
  SwapchainOptions larger;
  larger.width = 300;
  larger.height = 150;
  larger.old = swapchain.handle();
  Swapchain next(gpu(), surface, larger);
  if (!ValidationWanted()) {  // to which it is an error
    EXPECT_EQ(swapchain.Acquire(), VK_ERROR_OUT_OF_DATE_KHR);
  }
  EXPECT_EQ(next.Frame(kBlue, kRed), VK_SUCCESS);
  EXPECT_EQ(Await(window, 299, 149, kBlue), kBlue);
  EXPECT_EQ(At(window, 1, 1), kRed);
}

// A window that is resized all the time, while the swapchain before still has pictures to show, and moved to another parent.
TEST_F(WindowTest, ResizedManyTimes) {
  const xcb_window_t window = MakeWindow(), parent = MakeWindow(400, 400);
  const VkSurfaceKHR surface = MakeSurface(window);
  std::unique_ptr<Swapchain> swapchain;
  constexpr uint32_t kTimes = 60;
  SwapchainOptions options;
  for (uint32_t i = 0; i < kTimes; ++i) {
    options.width = 64 + i % 50;
    options.height = 32 + i % 70;
    Resize(window, options.width, options.height);
    if (i == kTimes / 2) xcb_reparent_window(connection_, window, parent, 3, 4);
    options.old = swapchain == nullptr ? VK_NULL_HANDLE : swapchain->handle();
    swapchain = std::make_unique<Swapchain>(gpu(), surface, options);
    EXPECT_EQ(swapchain->Frame(kRed, kGreen), VK_SUCCESS);
    EXPECT_EQ(swapchain->Frame(kGreen, kBlue), VK_SUCCESS);
  }
  // Pictures of the swapchain before are smaller.
  const auto right = static_cast<int16_t>(options.width - 1), bottom = static_cast<int16_t>(options.height - 1);
  EXPECT_EQ(Await(window, right, bottom, kGreen), kGreen);
  EXPECT_EQ(At(window, 0, 0), kBlue);
}

// Windows whose fourth byte is alpha get opaque pixels, or the image's own.
TEST_F(WindowTest, Alpha) {
  const std::optional<xcb_window_t> window = MakeDeepWindow();
  if (!window) GTEST_SKIP() << "the screen has no windows of depth 32";
  const VkSurfaceKHR surface = MakeSurface(*window);
  SwapchainOptions options;
  options.opacity = 0.2f;  // 51 of 255
  for (const auto alpha : {VK_COMPOSITE_ALPHA_OPAQUE_BIT_KHR, VK_COMPOSITE_ALPHA_INHERIT_BIT_KHR}) {
    SCOPED_TRACE(alpha);
    options.alpha = alpha;
    Swapchain swapchain(gpu(), surface, options);
    EXPECT_EQ(swapchain.Frame(kRed, kGreen), VK_SUCCESS);
    ExpectPicture(*window, kRed, kGreen);
    EXPECT_EQ(Pixel(*window, 0, 0) >> 24, alpha == VK_COMPOSITE_ALPHA_OPAQUE_BIT_KHR ? 255u : 51u);
    EXPECT_EQ(swapchain.Frame(kBlue, kBlue), VK_SUCCESS);  // so that the next one is seen to come
    ExpectPicture(*window, kBlue, kBlue);
  }
}

// A screen of ten bits a colour has windows that take nothing else.
TEST_F(WindowTest, TenBits) {
  if (xcb_setup_roots_iterator(xcb_get_setup(connection_)).data->root_depth != 30) {
    GTEST_SKIP() << "the screen has another depth";
  }
  const xcb_window_t window = MakeWindow();
  const VkSurfaceKHR surface = MakeSurface(window);
  uint32_t count = 2;
  std::array<VkSurfaceFormatKHR, 2> formats = {};
  VK_CHECK(vkGetPhysicalDeviceSurfaceFormatsKHR(gpu().physical_device(), surface, &count, formats.data()));
  ASSERT_EQ(count, 1u);
  ASSERT_EQ(formats[0].format, VK_FORMAT_A2R10G10B10_UNORM_PACK32);
  SwapchainOptions options;
  options.format = formats[0].format;
  Swapchain swapchain(gpu(), surface, options);
  EXPECT_EQ(swapchain.Frame({255, 0, 51}, {0, 255, 0}), VK_SUCCESS);
  constexpr uint32_t kColour = 1023u << 20 | 205u;  // 51 of 255 is 204.6 of 1023
  uint32_t seen = 0;
  for (int i = 0; i < 500 && seen != kColour; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    seen = Pixel(window, kWidth - 1, kHeight - 1) & 0x3fffffff;
  }
  EXPECT_EQ(seen, kColour);
  EXPECT_EQ(Pixel(window, 0, 0) & 0x3fffffff, 1023u << 10);
}

TEST_F(WindowTest, DestroyedWindow) {
  const xcb_window_t window = MakeWindow();
  const VkSurfaceKHR surface = MakeSurface(window);
  Swapchain swapchain(gpu(), surface, {});
  EXPECT_EQ(swapchain.Frame(kRed, kRed), VK_SUCCESS);
  Destroy(window);
  VkSurfaceCapabilitiesKHR capabilities = {};
  EXPECT_EQ(vkGetPhysicalDeviceSurfaceCapabilitiesKHR(gpu().physical_device(), surface, &capabilities),
            VK_ERROR_SURFACE_LOST_KHR);
  VkResult result = VK_SUCCESS;
  for (int i = 0; i < 100 && result >= 0; ++i) {
    result = swapchain.Acquire();
    if (result < 0) break;
    swapchain.Draw(kGreen, kGreen);
    result = swapchain.Present();
  }
  EXPECT_EQ(result, VK_ERROR_SURFACE_LOST_KHR);
}

// The X server's end. Alone in its process, which has no X server afterwards.
class DyingServerTest : public WindowTest {};

TEST_F(DyingServerTest, IsALostSurface) {
  const xcb_window_t window = MakeWindow();
  const VkSurfaceKHR surface = MakeSurface(window);
  Swapchain swapchain(gpu(), surface, {});
  EXPECT_EQ(swapchain.Frame(kRed, kGreen), VK_SUCCESS);
  ExpectPicture(window, kRed, kGreen);
  ucred server = {};
  socklen_t size = sizeof(server);
  ASSERT_EQ(getsockopt(xcb_get_file_descriptor(connection_), SOL_SOCKET, SO_PEERCRED, &server, &size), 0);
  ASSERT_EQ(kill(server.pid, SIGKILL), 0);
  VkResult result = VK_SUCCESS;
  for (int i = 0; i < 1000 && result >= 0; ++i) {
    result = swapchain.Acquire();
    if (result < 0) break;
    swapchain.Draw(kGreen, kGreen);
    result = swapchain.Present();
  }
  EXPECT_EQ(result, VK_ERROR_SURFACE_LOST_KHR);
  VkSurfaceCapabilitiesKHR capabilities = {};
  EXPECT_EQ(vkGetPhysicalDeviceSurfaceCapabilitiesKHR(gpu().physical_device(), surface, &capabilities),
            VK_ERROR_SURFACE_LOST_KHR);
}

TEST_F(WindowTest, AcquireHonoursItsTimeout) {
  const xcb_window_t window = MakeWindow();
  Swapchain swapchain(gpu(), MakeSurface(window), {});
  for (size_t i = 0; i < swapchain.images().size(); ++i) EXPECT_EQ(swapchain.Acquire(), VK_SUCCESS);
  EXPECT_EQ(swapchain.Acquire(0), VK_NOT_READY);
  EXPECT_EQ(swapchain.Acquire(1'000'000), VK_TIMEOUT);
}

}  // namespace
}  // namespace vesper::test
