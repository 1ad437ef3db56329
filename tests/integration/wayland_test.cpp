// Programs on Wayland: what they present is what a compositor gets, pixel for pixel, when it wants it, and nothing else of the
// program's connection changes. The compositor is the test's own (tests/support/compositor.h). Runs through Vesper only: other
// drivers share memory with the compositor that this one does not take.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <wayland-client.h>

#include <array>
#include <chrono>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "tests/integration/wayland_window.h"
#include "tests/support/swapchain.h"

namespace vesper::test {
namespace {

TEST_F(WaylandTest, WhatIsPresentedIsShown) {
  const VkSurfaceKHR surface = MakeSurface();
  EXPECT_TRUE(Supported(surface));
  size_t shown = 0;
  for (const VkPresentModeKHR mode : {VK_PRESENT_MODE_MAILBOX_KHR, VK_PRESENT_MODE_FIFO_KHR}) {
    SCOPED_TRACE(mode);
    Swapchain swapchain(gpu(), surface, In(mode));
    for (int i = 0; i < 5; ++i) {
      EXPECT_EQ(swapchain.Frame(kRed, kGreen), VK_SUCCESS);
      ASSERT_TRUE(compositor_->Await(++shown));
      ExpectPicture(compositor_->Get(shown - 1), kRed, kGreen);
      EXPECT_EQ(swapchain.Frame(kGreen, kBlue), VK_SUCCESS);
      ASSERT_TRUE(compositor_->Await(++shown));
      ExpectPicture(compositor_->Get(shown - 1), kGreen, kBlue);
    }
  }
}

TEST_F(WaylandTest, Capabilities) {
  const VkSurfaceKHR surface = MakeSurface();
  VkSurfaceCapabilitiesKHR capabilities = {};
  VK_CHECK(vkGetPhysicalDeviceSurfaceCapabilitiesKHR(gpu().physical_device(), surface, &capabilities));
  EXPECT_EQ(capabilities.currentExtent.width, UINT32_MAX);
  EXPECT_EQ(capabilities.currentExtent.height, UINT32_MAX);
  EXPECT_NE(capabilities.supportedCompositeAlpha & VK_COMPOSITE_ALPHA_PRE_MULTIPLIED_BIT_KHR, 0u);
  const auto supports = gpu().InstanceFunction<PFN_vkGetPhysicalDeviceWaylandPresentationSupportKHR>(
      "vkGetPhysicalDeviceWaylandPresentationSupportKHR");
  EXPECT_EQ(supports(gpu().physical_device(), gpu().queue_family(), display_), VK_TRUE);
}

// A compositor without wl_shm is nothing that pictures could be given to.
TEST_F(WaylandTest, WithoutSharedMemory) {
  Restart({}, false);
  const VkSurfaceKHR surface = MakeSurface();
  EXPECT_FALSE(Supported(surface));
  if (!ValidationWanted()) {  // to which it is an error
    EXPECT_TRUE(Formats(surface).empty());
  }
  const auto supports = gpu().InstanceFunction<PFN_vkGetPhysicalDeviceWaylandPresentationSupportKHR>(
      "vkGetPhysicalDeviceWaylandPresentationSupportKHR");
  EXPECT_EQ(supports(gpu().physical_device(), gpu().queue_family(), display_), VK_FALSE);
}

TEST_F(WaylandTest, EveryFormatOfEightBits) {
  const VkSurfaceKHR surface = MakeSurface();
  const std::vector<VkFormat> formats = Formats(surface);
  ASSERT_GE(formats.size(), 2u);
  size_t shown = 0;
  for (const VkFormat format : formats) {
    SCOPED_TRACE(format);
    SwapchainOptions options;
    options.mode = VK_PRESENT_MODE_FIFO_KHR;
    options.format = format;
    Swapchain swapchain(gpu(), surface, options);
    EXPECT_EQ(swapchain.Frame({255, 0, 0}, {0, 0, 255}), VK_SUCCESS);
    ASSERT_TRUE(compositor_->Await(++shown));
    EXPECT_EQ(compositor_->Get(shown - 1).format, uint32_t{WL_SHM_FORMAT_XRGB8888});
    ExpectPicture(compositor_->Get(shown - 1), {255, 0, 0}, {0, 0, 255});
  }
}

// Alpha reaches the compositor where the program wants that, and is no alpha to it else.
TEST_F(WaylandTest, Alpha) {
  const VkSurfaceKHR surface = MakeSurface();
  SwapchainOptions options = In(VK_PRESENT_MODE_FIFO_KHR);
  options.opacity = 0.2f;  // 51 of 255
  size_t shown = 0;
  for (const auto alpha : {VK_COMPOSITE_ALPHA_OPAQUE_BIT_KHR, VK_COMPOSITE_ALPHA_PRE_MULTIPLIED_BIT_KHR}) {
    options.alpha = alpha;
    Swapchain swapchain(gpu(), surface, options);
    EXPECT_EQ(swapchain.Frame(kRed, kGreen), VK_SUCCESS);
    ASSERT_TRUE(compositor_->Await(++shown));
    ExpectPicture(compositor_->Get(shown - 1), kRed, kGreen);
  }
  EXPECT_EQ(compositor_->Get(0).format, uint32_t{WL_SHM_FORMAT_XRGB8888});
  EXPECT_EQ(compositor_->Get(1).format, uint32_t{WL_SHM_FORMAT_ARGB8888});
  EXPECT_EQ(compositor_->Get(1).At(0, 0) >> 24, 51u);
}

// Formats of ten bits are there if the compositor has both kinds of them, and arrive as they are.
TEST_F(WaylandTest, TenBits) {
  EXPECT_EQ(Formats(MakeSurface()).size(), 4u);
  Restart({WL_SHM_FORMAT_XRGB2101010, WL_SHM_FORMAT_XBGR2101010, WL_SHM_FORMAT_ABGR2101010});
  const VkSurfaceKHR surface = MakeSurface();
  const std::vector<VkFormat> formats = Formats(surface);
  ASSERT_EQ(formats.size(), 5u);
  EXPECT_EQ(formats.back(), VK_FORMAT_A2B10G10R10_UNORM_PACK32);
  SwapchainOptions options;
  options.mode = VK_PRESENT_MODE_FIFO_KHR;
  options.format = formats.back();
  Swapchain swapchain(gpu(), surface, options);
  EXPECT_EQ(swapchain.Frame({255, 0, 51}, {0, 255, 0}), VK_SUCCESS);
  ASSERT_TRUE(compositor_->Await(1));
  const Compositor::Shown shown = compositor_->Get(0);
  EXPECT_EQ(shown.format, uint32_t{WL_SHM_FORMAT_XBGR2101010});
  EXPECT_EQ(shown.At(kWidth - 1, kHeight - 1) & 0x3fffffff, 205u << 20 | 1023u);  // 51 of 255 is 204.6 of 1023
  EXPECT_EQ(shown.At(0, 0) & 0x3fffffff, 1023u << 10);
}

// The compositor's clock alone: without an answer no second picture but one a second (for windows that nobody sees), with each
// answer one more, in order.
TEST_F(WaylandTest, FifoGoesByTheCompositor) {
  compositor_->Answer(false);
  const auto start = std::chrono::steady_clock::now();
  Swapchain swapchain(gpu(), MakeSurface(), In(VK_PRESENT_MODE_FIFO_KHR));
  constexpr std::array<Colour, 3> kColours = {kRed, kGreen, kBlue};
  for (const Colour& colour : kColours) EXPECT_EQ(swapchain.Frame(colour, colour), VK_SUCCESS);
  ASSERT_TRUE(compositor_->Await(1));
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // in which all could have been shown
  const size_t count = compositor_->count();
  EXPECT_LE(count, 1 + static_cast<size_t>((std::chrono::steady_clock::now() - start) / std::chrono::seconds(1)));
  for (size_t i = 1; i < kColours.size(); ++i) {
    compositor_->AnswerNow();
    ASSERT_TRUE(compositor_->Await(i + 1));
    ExpectPicture(compositor_->Get(i), kColours[i], kColours[i]);
  }
}

// MAILBOX holds nobody up, and shows the newest when the compositor wants a picture.
TEST_F(WaylandTest, MailboxShowsTheNewest) {
  compositor_->Answer(false);
  Swapchain swapchain(gpu(), MakeSurface(), In(VK_PRESENT_MODE_MAILBOX_KHR));
  constexpr size_t kFrames = 12;
  for (size_t i = 0; i < kFrames; ++i) EXPECT_EQ(swapchain.Frame(kGreen, kGreen), VK_SUCCESS);
  EXPECT_EQ(swapchain.Frame(kBlue, kRed), VK_SUCCESS);
  EXPECT_LT(compositor_->count(), kFrames);
  compositor_->Answer(true);
  compositor_->AnswerNow();
  size_t last = 0;
  while (compositor_->Await(last + 1) && Rgb(compositor_->Get(last).At(0, 0)) != Rgb(kRed)) ++last;
  ExpectPicture(compositor_->Get(last), kBlue, kRed);
}

// A compositor may hold buffers as long as it likes: they are not written to (TearDown looks), and presenting goes on after.
TEST_F(WaylandTest, BuffersAreTheCompositorsUntilReleased) {
  compositor_->Release(false);
  size_t shown = 0;
  {
    Swapchain swapchain(gpu(), MakeSurface(), In(VK_PRESENT_MODE_FIFO_KHR));
    for (int i = 0; i < 3; ++i) EXPECT_EQ(swapchain.Frame(i == 1 ? kRed : kGreen, kBlue), VK_SUCCESS);
    ASSERT_TRUE(compositor_->Await(shown += 3));
    EXPECT_EQ(compositor_->held(), 3u);
    for (int round = 0; round < 4; ++round) {
      compositor_->ReleaseNow();
      for (int i = 0; i < 3; ++i) EXPECT_EQ(swapchain.Frame(i == 1 ? kBlue : kRed, kGreen), VK_SUCCESS);
      ASSERT_TRUE(compositor_->Await(shown += 3));
    }
    compositor_->ReleaseNow();
  }
}

// Of a window that may be gone nothing is said any more when its swapchain goes, whatever waits; the last picture stays where
// it was shown before.
TEST_F(WaylandTest, AWindowThatGoesBeforeItsSwapchain) {
  compositor_->Answer(false);
  size_t shown = 0;
  {
    Swapchain swapchain(gpu(), MakeSurface(), In(VK_PRESENT_MODE_FIFO_KHR));
    EXPECT_EQ(swapchain.Frame(kBlue, kGreen), VK_SUCCESS);
    ASSERT_TRUE(compositor_->Await(1));
    for (int i = 0; i < 2; ++i) EXPECT_EQ(swapchain.Frame(kRed, kRed), VK_SUCCESS);
    wl_surface_destroy(windows_.back());
    windows_.clear();
    EXPECT_GE(wl_display_roundtrip(display_), 0);
    shown = compositor_->count();  // the second, too, after a second without an answer
  }
  EXPECT_GE(wl_display_roundtrip(display_), 0) << "something was said of a window that is gone";
  EXPECT_EQ(compositor_->count(), shown);
  ExpectPicture(compositor_->Get(0), kBlue, kGreen);
}

// Where Qt is (a library of that name), a picture is in the window when presenting returns.
class WaylandQtTest : public WaylandTest {};
TEST_F(WaylandQtTest, PicturesAreAwaited) {
  void* library = dlopen(VESPER_QT_LIBRARY, RTLD_NOW);
  ASSERT_NE(library, nullptr) << dlerror();
  {
    Swapchain swapchain(gpu(), MakeSurface(), In(VK_PRESENT_MODE_FIFO_KHR));
    for (size_t i = 1; i <= 20; ++i) {
      EXPECT_EQ(swapchain.Frame(kRed, i % 2 == 0 ? kGreen : kBlue), VK_SUCCESS);
      EXPECT_GE(wl_display_roundtrip(display_), 0);
      EXPECT_EQ(compositor_->count(), i);
    }
  }
  dlclose(library);
}

// The program resizes while it renders: each swapchain takes over from the one before, which shows nothing any more.
TEST_F(WaylandTest, ResizedManyTimes) {
  const VkSurfaceKHR surface = MakeSurface();
  std::unique_ptr<Swapchain> swapchain;
  constexpr uint32_t kTimes = 50;
  for (uint32_t i = 0; i < kTimes; ++i) {
    SwapchainOptions options = In(i % 2 == 0 ? VK_PRESENT_MODE_FIFO_KHR : VK_PRESENT_MODE_MAILBOX_KHR);
    options.width = 64 + 2 * i;
    options.height = 32 + 2 * (kTimes - i);
    if (swapchain != nullptr) options.old = swapchain->handle();
    auto next = std::make_unique<Swapchain>(gpu(), surface, options);
    swapchain = std::move(next);
    const size_t before = compositor_->count();
    EXPECT_EQ(swapchain->Frame(kRed, kGreen), VK_SUCCESS);
    ASSERT_TRUE(compositor_->Await(before + 1));
    const Compositor::Shown shown = compositor_->Get(compositor_->count() - 1);
    EXPECT_EQ(shown.width, options.width);
    EXPECT_EQ(shown.height, options.height);
    ExpectPicture(shown, kRed, kGreen);
  }
}

// The compositor is told what changed, in tiles of 64×64 pixels, and nothing else.
TEST_F(WaylandTest, DamageIsWhatChanged) {
  Swapchain swapchain(gpu(), MakeSurface(), In(VK_PRESENT_MODE_FIFO_KHR));
  EXPECT_EQ(swapchain.Frame(kRed, kGreen), VK_SUCCESS);
  ASSERT_TRUE(compositor_->Await(1));
  EXPECT_EQ(swapchain.Frame(kRed, kBlue), VK_SUCCESS);  // in the left upper quarter
  ASSERT_TRUE(compositor_->Await(2));
  EXPECT_EQ(swapchain.Frame(kRed, kBlue), VK_SUCCESS);
  ASSERT_TRUE(compositor_->Await(3));
  using Rectangles = std::vector<Compositor::Shown::Rectangle>;
  EXPECT_EQ(compositor_->Get(0).damage, (Rectangles{{0, 0, INT32_MAX, INT32_MAX}}));
  EXPECT_EQ(compositor_->Get(1).damage, (Rectangles{{0, 0, 128, 64}}));
  EXPECT_EQ(compositor_->Get(2).damage, Rectangles{});
}

TEST_F(WaylandTest, ManyWindows) {
  constexpr uint32_t kWindows = 8;
  std::vector<std::unique_ptr<Swapchain>> swapchains;
  for (uint32_t i = 0; i < kWindows; ++i) {
    swapchains.push_back(std::make_unique<Swapchain>(gpu(), MakeSurface(), In(VK_PRESENT_MODE_FIFO_KHR)));
  }
  for (int frame = 0; frame < 3; ++frame) {
    for (uint32_t i = 0; i < kWindows; ++i) {
      const Colour own = {static_cast<uint8_t>(30 * i), static_cast<uint8_t>(80 * frame), 7};
      EXPECT_EQ(swapchains[i]->Frame(own, kBlue), VK_SUCCESS);
    }
  }
  ASSERT_TRUE(compositor_->Await(3 * kWindows));
  std::array<int, kWindows> frames{};
  for (size_t i = 0; i < 3 * kWindows; ++i) {
    const Compositor::Shown shown = compositor_->Get(i);
    const int frame = frames.at(shown.surface)++;
    ExpectPicture(shown, {static_cast<uint8_t>(30 * shown.surface), static_cast<uint8_t>(80 * frame), 7}, kBlue);
  }
}

// Events of the program's stay in its own queue until the program dispatches them.
TEST_F(WaylandTest, TheProgramsEventsAreItsOwn) {
  bool heard = false;
  wl_callback* callback = wl_display_sync(display_);
  static constexpr wl_callback_listener kListener = {
      [](void* flag, wl_callback*, uint32_t) { *static_cast<bool*>(flag) = true; }};
  wl_callback_add_listener(callback, &kListener, &heard);
  Swapchain swapchain(gpu(), MakeSurface(), In(VK_PRESENT_MODE_FIFO_KHR));
  for (size_t i = 1; i <= 5; ++i) {
    EXPECT_EQ(swapchain.Frame(kRed, kGreen), VK_SUCCESS);
    ASSERT_TRUE(compositor_->Await(i));
  }
  EXPECT_FALSE(heard);
  EXPECT_EQ(wl_display_dispatch_pending(display_), 1);
  EXPECT_TRUE(heard);
  wl_callback_destroy(callback);
}

// As Qt does with a window that is closed while frames wait: the surface goes, then the window, at last the swapchain.
TEST_F(WaylandTest, ASurfaceThatGoesBeforeItsSwapchain) {
  if (ValidationWanted()) GTEST_SKIP() << "no valid program";
  compositor_->Answer(false);
  const VkSurfaceKHR surface = MakeSurface();
  Swapchain swapchain(gpu(), surface, In(VK_PRESENT_MODE_FIFO_KHR));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(swapchain.Frame(kRed, kRed), VK_SUCCESS);
  ASSERT_TRUE(compositor_->Await(1));
  vkDestroySurfaceKHR(gpu().instance(), surface, nullptr);
  wl_surface_destroy(windows_.back());
  surfaces_.clear();
  windows_.clear();
  EXPECT_EQ(swapchain.Acquire(), VK_ERROR_SURFACE_LOST_KHR);
  EXPECT_GE(wl_display_roundtrip(display_), 0) << "something was said of a window that is gone";
}

TEST_F(WaylandTest, ACompositorThatDies) {
  const VkSurfaceKHR surface = MakeSurface();
  Swapchain swapchain(gpu(), surface, In(VK_PRESENT_MODE_FIFO_KHR));
  EXPECT_EQ(swapchain.Frame(kRed, kRed), VK_SUCCESS);
  ASSERT_TRUE(compositor_->Await(1));
  compositor_->HangUp();
  EXPECT_EQ(FirstError(&swapchain), VK_ERROR_SURFACE_LOST_KHR);
  VkSurfaceCapabilitiesKHR capabilities = {};
  EXPECT_EQ(vkGetPhysicalDeviceSurfaceCapabilitiesKHR(gpu().physical_device(), surface, &capabilities),
            VK_ERROR_SURFACE_LOST_KHR);
  uint32_t count = 0;
  EXPECT_EQ(vkGetPhysicalDeviceSurfaceFormatsKHR(gpu().physical_device(), surface, &count, nullptr),
            VK_ERROR_SURFACE_LOST_KHR);
  const auto supports = gpu().InstanceFunction<PFN_vkGetPhysicalDeviceWaylandPresentationSupportKHR>(
      "vkGetPhysicalDeviceWaylandPresentationSupportKHR");
  EXPECT_EQ(supports(gpu().physical_device(), gpu().queue_family(), display_), VK_FALSE);
}

// One that dies while a program waits for an image, all of which wait for the compositor.
TEST_F(WaylandTest, ACompositorThatDiesWhileWaitedFor) {
  compositor_->Answer(false);
  compositor_->Release(false);
  Swapchain swapchain(gpu(), MakeSurface(), In(VK_PRESENT_MODE_FIFO_KHR));
  for (size_t i = 0; i < swapchain.images().size(); ++i) EXPECT_EQ(swapchain.Frame(kRed, kRed), VK_SUCCESS);
  ASSERT_TRUE(compositor_->Await(1));
  std::thread later([&] { compositor_->HangUp(); });
  EXPECT_EQ(FirstError(&swapchain), VK_ERROR_SURFACE_LOST_KHR);
  later.join();
}

TEST_F(WaylandTest, AProtocolErrorOfTheProgram) {
  const VkSurfaceKHR surface = MakeSurface();
  Swapchain swapchain(gpu(), surface, In(VK_PRESENT_MODE_MAILBOX_KHR));
  EXPECT_EQ(swapchain.Frame(kRed, kRed), VK_SUCCESS);
  ASSERT_TRUE(compositor_->Await(1));
  compositor_->Refuse();
  EXPECT_EQ(FirstError(&swapchain), VK_ERROR_SURFACE_LOST_KHR);
  EXPECT_NE(wl_display_get_error(display_), 0);
}

}  // namespace
}  // namespace vesper::test
