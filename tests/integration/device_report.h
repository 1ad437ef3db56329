// What device_report prints: one `name = value` a line under headings, the same on every run, so
// that what a device says locally and through another path can be compared with diff.
#pragma once

#include <vulkan/vulkan.h>

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <type_traits>

namespace vesper::test::report {

template <typename T>
void Value(T value) {
  if constexpr (std::is_floating_point_v<T>) {
    std::printf(" %.9g", static_cast<double>(value));
  } else if constexpr (std::is_enum_v<T>) {
    std::printf(" %d", static_cast<int>(value));
  } else if constexpr (std::is_signed_v<T>) {
    std::printf(" %" PRId64, static_cast<int64_t>(value));
  } else {
    std::printf(" %" PRIu64, static_cast<uint64_t>(value));
  }
}

template <typename T>
void Line(const char* name, const T& value) {
  std::printf("  %s =", name);
  if constexpr (std::is_same_v<std::remove_extent_t<T>, char>) {
    std::printf(" %s", value);
  } else if constexpr (std::is_array_v<T>) {
    for (const auto& element : value) Value(element);
  } else {
    Value(value);
  }
  std::printf("\n");
}

void Print(const VkPhysicalDeviceFeatures& s);
void Print(const VkPhysicalDeviceVulkan11Features& s);
void Print(const VkPhysicalDeviceVulkan12Features& s);
void Print(const VkPhysicalDeviceVulkan13Features& s);
void Print(const VkPhysicalDeviceLimits& s);
void Print(const VkPhysicalDeviceSparseProperties& s);
void Print(const VkPhysicalDeviceProperties& s);
void Print(const VkPhysicalDeviceVulkan11Properties& s);
void Print(const VkPhysicalDeviceVulkan12Properties& s);
void Print(const VkPhysicalDeviceVulkan13Properties& s);

}  // namespace vesper::test::report
