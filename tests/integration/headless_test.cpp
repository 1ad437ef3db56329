// Presenting where nothing is shown, counted: frames cost no round trip. Runs through Vesper only.
#include <gtest/gtest.h>

#include "tests/integration/gpu_test.h"
#include "tests/support/statistics_file.h"
#include "tests/support/swapchain.h"

namespace vesper::test {
namespace {

constexpr uint32_t kFrames = 1000;

StatisticsFile& File() {
  static StatisticsFile file;
  return file;
}

// Round trips of an instance that presents `frames` times.
uint64_t RoundTrips(uint32_t frames) {
  const StatisticsFile& file = File();
  { Context first; }  // so that the file exists
  const uint64_t before = file.Total("round_trips");
  {
    ContextOptions options;
    options.instance_extensions = {VK_KHR_SURFACE_EXTENSION_NAME, VK_EXT_HEADLESS_SURFACE_EXTENSION_NAME};
    options.device_extensions = {VK_KHR_SWAPCHAIN_EXTENSION_NAME};
    Context gpu(options);
    VkHeadlessSurfaceCreateInfoEXT info = {};
    info.sType = VK_STRUCTURE_TYPE_HEADLESS_SURFACE_CREATE_INFO_EXT;
    VkSurfaceKHR surface = VK_NULL_HANDLE;
    VK_CHECK(gpu.InstanceFunction<PFN_vkCreateHeadlessSurfaceEXT>("vkCreateHeadlessSurfaceEXT")(gpu.instance(), &info,
                                                                                                nullptr, &surface));
    {
      SwapchainOptions of;
      of.mode = VK_PRESENT_MODE_FIFO_KHR;
      Swapchain swapchain(gpu, surface, of);
      for (uint32_t i = 0; i < frames; ++i) EXPECT_EQ(swapchain.FrameOfNothing(), VK_SUCCESS);
    }
    vkDestroySurfaceKHR(gpu.instance(), surface, nullptr);
  }
  return file.Total("round_trips") - before;
}

TEST(HeadlessTest, FramesAreNoRoundTrips) {
  const uint64_t once = RoundTrips(1);
  EXPECT_EQ(RoundTrips(kFrames), once);
}

}  // namespace
}  // namespace vesper::test
