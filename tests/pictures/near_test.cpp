// VESPER_FRAMES: what a compositor gets of pictures that travel nearly as they are. Runs through Vesper only.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tests/integration/wayland_window.h"
#include "tests/support/statistics_file.h"

namespace vesper::test {
namespace {

const StatisticsFile kFile;  // before the first instance

// Nothing that tiles of 64 pixels divide.
constexpr uint32_t kPictureWidth = 1100, kPictureHeight = 130;

class WaylandNearTest : public WaylandTest {
 protected:
  WaylandNearTest() { setenv("VESPER_FRAMES", "near", 1); }
  ~WaylandNearTest() override { unsetenv("VESPER_FRAMES"); }
  static bool OverTcp() { return std::string(std::getenv("VESPER_SERVER")).starts_with("tcp"); }
  static SwapchainOptions Large() {
    SwapchainOptions options;
    options.mode = VK_PRESENT_MODE_FIFO_KHR;
    options.width = kPictureWidth;
    options.height = kPictureHeight;
    return options;
  }
  // As programs draw: colours that run into each other, letters (sharp edges in pure colours), and a little noise.
  void Draw(uint32_t shift) {
    pixels_.resize(size_t{kPictureWidth} * kPictureHeight);
    std::mt19937 random(shift);
    for (uint32_t y = 0; y < kPictureHeight; ++y) {
      for (uint32_t x = 0; x < kPictureWidth; ++x) {
        const uint32_t from = x + shift;
        uint32_t red = 255 * x / kPictureWidth, green = 255 * y / kPictureHeight, blue = 128 + from % 64;
        if (x > 600 && y < 64) red = green = blue = (from / 3 + y / 5) % 3 == 0 ? 0 : 255;
        if (x > 900) blue = (blue + random() % 8) & 255;
        pixels_[size_t{y} * kPictureWidth + x] = red << 16 | green << 8 | blue;
      }
    }
  }
  // Presents the picture and waits until it is shown. The index of the commit.
  size_t Show(Swapchain* swapchain) {
    Buffer buffer = MakeBuffer(gpu(), pixels_.size() * 4, VK_BUFFER_USAGE_TRANSFER_SRC_BIT, Placement::kHost);
    const auto to = buffer.As<uint32_t>();
    for (size_t i = 0; i < pixels_.size(); ++i) to[i] = pixels_[i] | 0xff000000u;
    const size_t before = compositor_->count();
    VK_CHECK(swapchain->Acquire());
    swapchain->Paint(buffer.handle);
    EXPECT_EQ(swapchain->Present(), VK_SUCCESS);
    VK_CHECK(vkDeviceWaitIdle(device()));
    EXPECT_TRUE(compositor_->Await(before + 1));
    return before;
  }
  // Against what was drawn, in dB; infinite where all pixels are the same.
  double Likeness(size_t index) {
    const Compositor::Shown shown = compositor_->Get(index);
    double error = 0;
    for (size_t i = 0; i < pixels_.size(); ++i) {
      for (const int bits : {0, 8, 16}) {
        const int difference = static_cast<int>(shown.pixels[i] >> bits & 255) - static_cast<int>(pixels_[i] >> bits & 255);
        error += difference * difference;
      }
    }
    if (error == 0) return std::numeric_limits<double>::infinity();
    return 10 * std::log10(255.0 * 255.0 / (error / (3.0 * static_cast<double>(pixels_.size()))));
  }
  // Presents the same picture until all of it is exact.
  bool Settles(Swapchain* swapchain) {
    for (int i = 0; i < 40; ++i) {
      if (std::isinf(Likeness(Show(swapchain)))) return true;
    }
    return false;
  }

  std::vector<uint32_t> pixels_;
};

// What moves comes nearly as it is, for a part of the bytes; what stands still is exact.
TEST_F(WaylandNearTest, NearlyAtOnceAndExactlyWhenStill) {
  if (!OverTcp()) GTEST_SKIP() << "memory is shared";
  Restart({});  // which writes what was counted
  constexpr uint32_t kFrames = 5;
  const uint64_t frames = kFile.Total("frames"), bytes = kFile.Total("frame_bytes");
  {
    Swapchain swapchain(gpu(), MakeSurface(), Large());
    for (uint32_t i = 0; i < kFrames; ++i) {
      Draw(i);
      const double likeness = Likeness(Show(&swapchain));
      RecordProperty("dB of frame " + std::to_string(i), std::to_string(likeness));
      EXPECT_GE(likeness, 40.0) << "frame " << i;
      EXPECT_FALSE(std::isinf(likeness)) << "frame " << i;
    }
  }
  Restart({});
  EXPECT_EQ(kFile.Total("frames") - frames, kFrames);
  EXPECT_LE(kFile.Total("frame_bytes") - bytes, kFrames * pixels_.size() * 4 / 5);
  EXPECT_GT(kFile.Total("frame_bytes") - bytes, 0u);
  Swapchain swapchain(gpu(), MakeSurface(), Large());
  Draw(7);
  EXPECT_TRUE(Settles(&swapchain));
}

// A cursor that blinks in a picture that stands still is exact at once.
TEST_F(WaylandNearTest, LittleIsExact) {
  Swapchain swapchain(gpu(), MakeSurface(), Large());
  Draw(0);
  ASSERT_TRUE(Settles(&swapchain));
  int exact = 0;  // not the first picture in a buffer, of which there are three
  for (int blink = 0; blink < 8; ++blink) {
    for (uint32_t y = 20; y < 36; ++y) pixels_[size_t{y} * kPictureWidth + 100 + y % 2] ^= 0xffffff;
    exact += std::isinf(Likeness(Show(&swapchain))) ? 1 : 0;
    ASSERT_TRUE(Settles(&swapchain));
  }
  EXPECT_GE(exact, 5);
}

// Pictures with alpha, and for a word that nobody knows, come exactly.
TEST_F(WaylandNearTest, WhereItIsNotNear) {
  const VkSurfaceKHR surface = MakeSurface();
  Draw(3);
  SwapchainOptions options = Large();
  options.alpha = VK_COMPOSITE_ALPHA_PRE_MULTIPLIED_BIT_KHR;
  {
    Swapchain swapchain(gpu(), surface, options);
    EXPECT_TRUE(std::isinf(Likeness(Show(&swapchain))));
  }
  setenv("VESPER_FRAMES", "video", 1);
  Swapchain swapchain(gpu(), surface, Large());
  EXPECT_TRUE(std::isinf(Likeness(Show(&swapchain))));
}

// Over a Unix socket memory is shared, and pictures are what they are.
TEST_F(WaylandNearTest, SharedMemoryIsExact) {
  if (OverTcp()) GTEST_SKIP();
  Swapchain swapchain(gpu(), MakeSurface(), Large());
  Draw(0);
  EXPECT_TRUE(std::isinf(Likeness(Show(&swapchain))));
}

// Pixels whose red comes first keep their colours.
TEST_F(WaylandNearTest, RedFirst) {
  SwapchainOptions options = Large();
  options.format = VK_FORMAT_R8G8B8A8_UNORM;
  Swapchain swapchain(gpu(), MakeSurface(), options);
  Draw(0);
  std::vector<uint32_t> drawn = pixels_;
  const size_t shown = Show(&swapchain);  // as R, G, B, A
  for (size_t i = 0; i < drawn.size(); ++i) {
    pixels_[i] = (drawn[i] & 0xff) << 16 | (drawn[i] & 0xff00) | (drawn[i] >> 16 & 0xff);
  }
  EXPECT_GE(Likeness(shown), 40.0);
}

}  // namespace
}  // namespace vesper::test
