// Protects: no client maps memory that the CPU reads slowly, and every device keeps coherent memory
// that can be mapped.
#include "server/memory/memory_types.h"

#include <gtest/gtest.h>

#include <vector>

namespace vesper::server {
namespace {

constexpr VkMemoryPropertyFlags kLocal = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
constexpr VkMemoryPropertyFlags kVisible = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT;
constexpr VkMemoryPropertyFlags kCoherent = VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
constexpr VkMemoryPropertyFlags kCached = VK_MEMORY_PROPERTY_HOST_CACHED_BIT;

std::vector<VkMemoryPropertyFlags> Told(const std::vector<VkMemoryPropertyFlags>& types) {
  VkPhysicalDeviceMemoryProperties properties{};
  for (const VkMemoryPropertyFlags flags : types)
    properties.memoryTypes[properties.memoryTypeCount++].propertyFlags = flags;
  HideUncachedTypes(&properties);
  std::vector<VkMemoryPropertyFlags> told;
  for (uint32_t i = 0; i < properties.memoryTypeCount; ++i) told.push_back(properties.memoryTypes[i].propertyFlags);
  return told;
}

using Types = std::vector<VkMemoryPropertyFlags>;

TEST(MemoryTypes, UncachedOnesAreNotMappedWhereCachedOnesCanBe) {
  const Types nvidia = {0, kLocal, kVisible | kCoherent, kVisible | kCoherent | kCached, kLocal | kVisible | kCoherent};
  EXPECT_EQ(Told(nvidia), (Types{0, kLocal, 0, kVisible | kCoherent | kCached, kLocal}));
}

TEST(MemoryTypes, ASingleCachedTypeStaysAsItIs) {
  const Types lavapipe = {kLocal | kVisible | kCoherent | kCached};
  EXPECT_EQ(Told(lavapipe), lavapipe);
}

TEST(MemoryTypes, UncachedOnesStayWhereNothingElseIsCoherent) {
  const Types write_combined = {kLocal, kLocal | kVisible | kCoherent};
  EXPECT_EQ(Told(write_combined), write_combined);
  const Types cached_is_not_coherent = {kVisible | kCoherent, kVisible | kCached};
  EXPECT_EQ(Told(cached_is_not_coherent), cached_is_not_coherent);
}

}  // namespace
}  // namespace vesper::server
