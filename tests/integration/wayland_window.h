// Windows of a program on Wayland, before a compositor of the test's own, for tests of what is presented.
#pragma once

#ifndef VK_USE_PLATFORM_WAYLAND_KHR
#define VK_USE_PLATFORM_WAYLAND_KHR
#endif
#include <gtest/gtest.h>
#include <wayland-client.h>

#include <array>
#include <cstring>
#include <memory>
#include <vector>

#include "tests/integration/gpu_test.h"
#include "tests/support/compositor.h"
#include "tests/support/swapchain.h"

namespace vesper::test {

using Colour = std::array<uint8_t, 3>;
inline constexpr uint32_t kWidth = 200, kHeight = 100;
inline constexpr Colour kRed = {200, 10, 20}, kGreen = {30, 220, 40}, kBlue = {50, 60, 240};

// As pixels of XRGB8888 hold it, but for the byte that says nothing.
inline uint32_t Rgb(Colour colour) { return uint32_t{colour[0]} << 16 | uint32_t{colour[1]} << 8 | colour[2]; }
inline uint32_t Rgb(uint32_t pixel) { return pixel & 0xffffff; }

class WaylandTest : public GpuTest {
 protected:
  void SetUp() override { Start({}); }
  void Start(const std::vector<uint32_t>& formats, bool with_shm = true) {
    compositor_ = std::make_unique<Compositor>(formats, with_shm);
    display_ = wl_display_connect_to_fd(compositor_->Connect());
    ASSERT_NE(display_, nullptr);
    wl_registry* registry = wl_display_get_registry(display_);
    static constexpr wl_registry_listener kListener = {
        [](void* self, wl_registry* of, uint32_t name, const char* interface, uint32_t version) {
          if (std::strcmp(interface, "wl_compositor") != 0) return;
          static_cast<WaylandTest*>(self)->globals_ =
              static_cast<wl_compositor*>(wl_registry_bind(of, name, &wl_compositor_interface, version));
        },
        [](void*, wl_registry*, uint32_t) {}};
    wl_registry_add_listener(registry, &kListener, this);
    ASSERT_GE(wl_display_roundtrip(display_), 0);
    ASSERT_NE(globals_, nullptr);
    wl_registry_destroy(registry);
    ContextOptions options;
    options.instance_extensions = {VK_KHR_SURFACE_EXTENSION_NAME, VK_KHR_WAYLAND_SURFACE_EXTENSION_NAME};
    options.device_extensions = {VK_KHR_SWAPCHAIN_EXTENSION_NAME};
    More(&options);
    Open(options);
  }
  // Extensions of some tests.
  virtual void More(ContextOptions*) {}
  void TearDown() override {
    for (const VkSurfaceKHR surface : surfaces_) vkDestroySurfaceKHR(gpu().instance(), surface, nullptr);
    GpuTest::TearDown();
    for (wl_surface* each : windows_) wl_surface_destroy(each);
    wl_compositor_destroy(globals_);
    wl_display_disconnect(display_);
    EXPECT_EQ(compositor_->torn(), 0u) << "buffers that the compositor held were written to";
  }
  void Restart(const std::vector<uint32_t>& formats, bool with_shm = true) {
    TearDown();
    surfaces_.clear();
    windows_.clear();
    Start(formats, with_shm);
  }

  VkSurfaceKHR MakeSurface() {
    windows_.push_back(wl_compositor_create_surface(globals_));
    VkWaylandSurfaceCreateInfoKHR info = {};
    info.sType = VK_STRUCTURE_TYPE_WAYLAND_SURFACE_CREATE_INFO_KHR;
    info.display = display_;
    info.surface = windows_.back();
    const auto create = gpu().InstanceFunction<PFN_vkCreateWaylandSurfaceKHR>("vkCreateWaylandSurfaceKHR");
    VkSurfaceKHR surface = VK_NULL_HANDLE;
    VK_CHECK(create(gpu().instance(), &info, nullptr, &surface));
    surfaces_.push_back(surface);
    return surface;
  }
  bool Supported(VkSurfaceKHR surface) {
    VkBool32 supported = VK_FALSE;
    VK_CHECK(vkGetPhysicalDeviceSurfaceSupportKHR(gpu().physical_device(), gpu().queue_family(), surface, &supported));
    return supported == VK_TRUE;
  }
  std::vector<VkFormat> Formats(VkSurfaceKHR surface) {
    uint32_t count = 0;
    VK_CHECK(vkGetPhysicalDeviceSurfaceFormatsKHR(gpu().physical_device(), surface, &count, nullptr));
    std::vector<VkSurfaceFormatKHR> formats(count);
    VK_CHECK(vkGetPhysicalDeviceSurfaceFormatsKHR(gpu().physical_device(), surface, &count, formats.data()));
    std::vector<VkFormat> names;
    for (const VkSurfaceFormatKHR& each : formats) names.push_back(each.format);
    return names;
  }
  static SwapchainOptions In(VkPresentModeKHR mode) {
    SwapchainOptions options;
    options.mode = mode;
    return options;
  }
  // Everything of `colour` but the left upper quarter.
  static void ExpectPicture(const Compositor::Shown& shown, Colour colour, Colour corner) {
    EXPECT_FALSE(shown.damage.empty());
    for (uint32_t y = 0; y < shown.height; ++y) {
      for (uint32_t x = 0; x < shown.width; ++x) {
        const bool inside = x < shown.width / 2 && y < shown.height / 2;
        ASSERT_EQ(Rgb(shown.At(x, y)), Rgb(inside ? corner : colour)) << x << ", " << y;
      }
    }
  }
  // What presenting says once the connection is gone.
  VkResult FirstError(Swapchain* swapchain) {
    for (int i = 0; i < 1000; ++i) {
      VkResult result = swapchain->Acquire();
      if (result < 0) return result;
      swapchain->Draw(kGreen, kGreen);
      result = swapchain->Present();
      if (result < 0) return result;
    }
    return VK_SUCCESS;
  }

  std::unique_ptr<Compositor> compositor_;
  wl_display* display_ = nullptr;
  wl_compositor* globals_ = nullptr;
  std::vector<wl_surface*> windows_;
  std::vector<VkSurfaceKHR> surfaces_;
};

}  // namespace vesper::test
