// Protects the choice of GPUs.
#include "server/device/driver.h"

#include <gtest/gtest.h>

namespace vesper::server {
namespace {

using Matches = std::vector<size_t>;

TEST(DriverTest, GpusAreNamedByIndexOrPartOfTheirName) {
  const std::vector<std::string> names = {"NVIDIA H200", "Intel Arc", "llvmpipe (LLVM 15)"};
  EXPECT_EQ(MatchGpus(names, ""), (Matches{0, 1, 2}));
  EXPECT_EQ(MatchGpus(names, "1"), (Matches{1}));
  EXPECT_EQ(MatchGpus(names, "LLVM"), (Matches{2}));
  EXPECT_EQ(MatchGpus(names, "nvidia"), (Matches{0}));
  EXPECT_EQ(MatchGpus(names, "7"), (Matches{}));
  EXPECT_EQ(MatchGpus(names, "radeon"), (Matches{}));
}

TEST(DriverTest, DiscreteGpusComeFirst) {
  EXPECT_GT(ScoreOf(VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU), ScoreOf(VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU));
  EXPECT_GT(ScoreOf(VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU), ScoreOf(VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU));
  EXPECT_GT(ScoreOf(VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU), ScoreOf(VK_PHYSICAL_DEVICE_TYPE_CPU));
  EXPECT_GT(ScoreOf(VK_PHYSICAL_DEVICE_TYPE_CPU), ScoreOf(VK_PHYSICAL_DEVICE_TYPE_OTHER));
}

}  // namespace
}  // namespace vesper::server
