// The two-call idiom for lists that the server made itself.
#pragma once

#include <vulkan/vulkan.h>

#include <algorithm>
#include <span>

namespace vesper::server::overrides {

// Copies as much as fits, or only counts without `items`. VK_INCOMPLETE when something was left.
template <typename T>
VkResult GiveList(std::span<const T> list, uint32_t* count, T* items) {
  const auto size = static_cast<uint32_t>(list.size());
  if (items == nullptr) {
    *count = size;
    return VK_SUCCESS;
  }
  const uint32_t given = std::min(*count, size);
  std::copy_n(list.begin(), given, items);
  *count = given;
  return given < size ? VK_INCOMPLETE : VK_SUCCESS;
}

}  // namespace vesper::server::overrides
