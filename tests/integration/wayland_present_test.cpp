// What VK_KHR_present_id, VK_KHR_present_wait and VK_EXT_swapchain_maintenance1 add to presenting, before a compositor of the
// test's own. Runs through Vesper only.
#include <gtest/gtest.h>

#include <array>
#include <thread>

#include "tests/integration/wayland_window.h"
#include "tests/support/statistics_file.h"

namespace vesper::test {
namespace {

const StatisticsFile kFile;  // before the first instance

class WaylandPresentTest : public WaylandTest {
 protected:
  void More(ContextOptions* options) override {
    for (const char* name :
         {VK_KHR_GET_SURFACE_CAPABILITIES_2_EXTENSION_NAME, VK_EXT_SURFACE_MAINTENANCE_1_EXTENSION_NAME}) {
      options->instance_extensions.push_back(name);
    }
    for (const char* name : {VK_KHR_PRESENT_ID_EXTENSION_NAME, VK_KHR_PRESENT_WAIT_EXTENSION_NAME,
                             VK_EXT_SWAPCHAIN_MAINTENANCE_1_EXTENSION_NAME}) {
      options->device_extensions.push_back(name);
    }
    ids_ = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PRESENT_ID_FEATURES_KHR, nullptr, VK_TRUE};
    waits_ = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PRESENT_WAIT_FEATURES_KHR, &ids_, VK_TRUE};
    maintenance_ = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SWAPCHAIN_MAINTENANCE_1_FEATURES_EXT, &waits_, VK_TRUE};
    options->device_next = &maintenance_;
  }
  template <typename Function>
  Function DeviceFunction(const char* name) {
    return reinterpret_cast<Function>(vkGetDeviceProcAddr(device(), name));
  }
  VkResult AwaitShown(const Swapchain& swapchain, uint64_t id, uint64_t timeout = kWaitNanoseconds) {
    return DeviceFunction<PFN_vkWaitForPresentKHR>("vkWaitForPresentKHR")(device(), swapchain.handle(), id, timeout);
  }
  VkResult FrameWithId(Swapchain* swapchain, Colour colour, uint64_t id) {
    const VkPresentIdKHR ids = {VK_STRUCTURE_TYPE_PRESENT_ID_KHR, nullptr, 1, &id};
    return swapchain->Frame(colour, colour, &ids);
  }

  VkPhysicalDevicePresentIdFeaturesKHR ids_ = {};
  VkPhysicalDevicePresentWaitFeaturesKHR waits_ = {};
  VkPhysicalDeviceSwapchainMaintenance1FeaturesEXT maintenance_ = {};
};

// Whatever the server's driver says of windows, which it may know nothing of.
TEST_F(WaylandPresentTest, FeaturesAreTheClients) {
  VkPhysicalDevicePresentIdFeaturesKHR ids = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PRESENT_ID_FEATURES_KHR, nullptr,
                                              VK_FALSE};
  VkPhysicalDevicePresentWaitFeaturesKHR waits = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PRESENT_WAIT_FEATURES_KHR, &ids,
                                                  VK_FALSE};
  VkPhysicalDeviceSwapchainMaintenance1FeaturesEXT maintenance = {
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SWAPCHAIN_MAINTENANCE_1_FEATURES_EXT, &waits, VK_FALSE};
  VkPhysicalDeviceFeatures2 features = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, &maintenance, {}};
  vkGetPhysicalDeviceFeatures2(gpu().physical_device(), &features);
  EXPECT_EQ(ids.presentId, VK_TRUE);
  EXPECT_EQ(waits.presentWait, VK_TRUE);
  EXPECT_EQ(maintenance.swapchainMaintenance1, VK_TRUE);
}

TEST_F(WaylandPresentTest, IdsAreAwaited) {
  compositor_->Answer(false);
  Swapchain swapchain(gpu(), MakeSurface(), In(VK_PRESENT_MODE_FIFO_KHR));
  for (uint64_t id : {1, 2, 4}) EXPECT_EQ(FrameWithId(&swapchain, kRed, id), VK_SUCCESS);
  EXPECT_EQ(AwaitShown(swapchain, 1), VK_SUCCESS);
  ASSERT_TRUE(compositor_->Await(1));
  const VkResult early = AwaitShown(swapchain, 4, 0);
  if (compositor_->count() < 3) {  // which takes two seconds, as nothing is answered
    EXPECT_EQ(early, VK_TIMEOUT);
  }
  compositor_->Answer(true);
  compositor_->AnswerNow();
  EXPECT_EQ(AwaitShown(swapchain, 3), VK_SUCCESS);  // what was presented with a later id is as good
  ASSERT_TRUE(compositor_->Await(3));
  EXPECT_EQ(AwaitShown(swapchain, 5, 1'000'000), VK_TIMEOUT);
  std::thread later([&] { compositor_->HangUp(); });
  EXPECT_EQ(AwaitShown(swapchain, 5), VK_ERROR_SURFACE_LOST_KHR);
  later.join();
}

TEST_F(WaylandPresentTest, Fences) {
  Swapchain swapchain(gpu(), MakeSurface(), In(VK_PRESENT_MODE_FIFO_KHR));
  const Owned<VkFence> fence = MakeFence(gpu(), 0);
  for (int i = 0; i < 3; ++i) {
    const VkSwapchainPresentFenceInfoEXT info = {VK_STRUCTURE_TYPE_SWAPCHAIN_PRESENT_FENCE_INFO_EXT, nullptr, 1,
                                                 fence.address()};
    EXPECT_EQ(swapchain.Frame(kRed, kBlue, &info), VK_SUCCESS);
    WaitFor(gpu(), fence);
    VK_CHECK(vkResetFences(device(), 1, fence.address()));
  }
}

TEST_F(WaylandPresentTest, ImagesAreGivenBack) {
  Swapchain swapchain(gpu(), MakeSurface(), In(VK_PRESENT_MODE_FIFO_KHR));
  const Owned<VkFence> fence = MakeFence(gpu(), 0);
  const auto release = DeviceFunction<PFN_vkReleaseSwapchainImagesEXT>("vkReleaseSwapchainImagesEXT");
  for (int i = 0; i < 3; ++i) {
    uint32_t index = 0;
    VK_CHECK(vkAcquireNextImageKHR(device(), swapchain.handle(), kWaitNanoseconds, VK_NULL_HANDLE, fence, &index));
    WaitFor(gpu(), fence);
    VK_CHECK(vkResetFences(device(), 1, fence.address()));
    const VkReleaseSwapchainImagesInfoEXT info = {VK_STRUCTURE_TYPE_RELEASE_SWAPCHAIN_IMAGES_INFO_EXT, nullptr,
                                                  swapchain.handle(), 1, &index};
    VK_CHECK(release(device(), &info));
  }
  EXPECT_EQ(compositor_->count(), 0u);
  EXPECT_EQ(swapchain.Frame(kGreen, kBlue), VK_SUCCESS);
  ASSERT_TRUE(compositor_->Await(1));
  ExpectPicture(compositor_->Get(0), kGreen, kBlue);
}

// A present may change the mode, of what is queued too.
TEST_F(WaylandPresentTest, ModesChange) {
  compositor_->Answer(false);
  constexpr std::array<VkPresentModeKHR, 2> kBoth = {VK_PRESENT_MODE_FIFO_KHR, VK_PRESENT_MODE_MAILBOX_KHR};
  const VkSwapchainPresentModesCreateInfoEXT modes = {VK_STRUCTURE_TYPE_SWAPCHAIN_PRESENT_MODES_CREATE_INFO_EXT,
                                                      nullptr, kBoth.size(), kBoth.data()};
  SwapchainOptions options = In(VK_PRESENT_MODE_FIFO_KHR);
  options.next = &modes;
  Swapchain swapchain(gpu(), MakeSurface(), options);
  EXPECT_EQ(swapchain.Frame(kRed, kRed), VK_SUCCESS);
  const VkSwapchainPresentModeInfoEXT mailbox = {VK_STRUCTURE_TYPE_SWAPCHAIN_PRESENT_MODE_INFO_EXT, nullptr, 1,
                                                 &kBoth[1]};
  constexpr size_t kFrames = 12;  // with FIFO each would take a second
  for (size_t i = 0; i < kFrames; ++i) EXPECT_EQ(swapchain.Frame(kGreen, kGreen, &mailbox), VK_SUCCESS);
  EXPECT_LT(compositor_->count(), kFrames);
}

TEST_F(WaylandPresentTest, ModesAreCompatible) {
  const VkSurfaceKHR surface = MakeSurface();
  const VkSurfacePresentModeEXT mode = {VK_STRUCTURE_TYPE_SURFACE_PRESENT_MODE_EXT, nullptr, VK_PRESENT_MODE_FIFO_KHR};
  const VkPhysicalDeviceSurfaceInfo2KHR info = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SURFACE_INFO_2_KHR, &mode, surface};
  std::array<VkPresentModeKHR, 4> found = {};
  VkSurfacePresentModeCompatibilityEXT modes = {VK_STRUCTURE_TYPE_SURFACE_PRESENT_MODE_COMPATIBILITY_EXT, nullptr,
                                                found.size(), found.data()};
  VkSurfacePresentScalingCapabilitiesEXT scaling = {
      VK_STRUCTURE_TYPE_SURFACE_PRESENT_SCALING_CAPABILITIES_EXT, &modes, 1, 1, 1, {}, {}};
  VkSurfaceCapabilities2KHR capabilities = {VK_STRUCTURE_TYPE_SURFACE_CAPABILITIES_2_KHR, &scaling, {}};
  const auto ask = gpu().InstanceFunction<PFN_vkGetPhysicalDeviceSurfaceCapabilities2KHR>(
      "vkGetPhysicalDeviceSurfaceCapabilities2KHR");
  VK_CHECK(ask(gpu().physical_device(), &info, &capabilities));
  ASSERT_EQ(modes.presentModeCount, 2u);
  EXPECT_EQ(found[0], VK_PRESENT_MODE_MAILBOX_KHR);
  EXPECT_EQ(found[1], VK_PRESENT_MODE_FIFO_KHR);
  EXPECT_EQ(scaling.supportedPresentScaling, 0u);
  EXPECT_EQ(scaling.maxScaledImageExtent.width, capabilities.surfaceCapabilities.maxImageExtent.width);
}

// A picture like the one before it does not travel again, though each is drawn in another image than the one before; not even when
// the next image is acquired before the last was shown. Where client and server share memory, nothing does.
TEST_F(WaylandPresentTest, OnlyWhatChangesTravels) {
  Restart({});  // which writes what was counted
  constexpr size_t kFrames = 20;
  {
    Swapchain swapchain(gpu(), MakeSurface(), In(VK_PRESENT_MODE_FIFO_KHR));
    VK_CHECK(swapchain.Acquire());
    for (uint64_t id = 1; id <= kFrames; ++id) {
      const uint32_t last = swapchain.current();
      swapchain.Draw(kRed, kRed);
      const VkPresentIdKHR ids = {VK_STRUCTURE_TYPE_PRESENT_ID_KHR, nullptr, 1, &id};
      EXPECT_EQ(swapchain.Present(&ids), VK_SUCCESS);
      if (id < kFrames) {
        VK_CHECK(swapchain.Acquire());
        EXPECT_NE(swapchain.current(), last);
      }
      EXPECT_EQ(AwaitShown(swapchain, id), VK_SUCCESS);
    }
  }
  const uint64_t frames = kFile.Total("frames"), bytes = kFile.Total("frame_bytes");
  Restart({});
  EXPECT_EQ(kFile.Total("frames") - frames, kFrames);
  EXPECT_LE(kFile.Total("frame_bytes") - bytes, 1u * kWidth * kHeight * 4);  // 20 would be all
}

}  // namespace
}  // namespace vesper::test
