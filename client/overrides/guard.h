// What overrides share: nothing is thrown into the application, and lists are handed out in two calls.
#pragma once

#include <vulkan/vulkan.h>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <new>
#include <span>

namespace vesper::client {

// `body`'s result, or VK_ERROR_OUT_OF_HOST_MEMORY when it throws.
template <typename Body>
VkResult Guarded(Body body) noexcept {
  try {
    return body();
  } catch (const std::exception&) {
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
}

// Vulkan's two-call idiom: the count alone, or as many elements as there is room for.
template <typename T>
VkResult HandOut(std::span<const T> all, uint32_t* count, T* out) {
  const auto total = static_cast<uint32_t>(all.size());
  if (out == nullptr) {
    *count = total;
    return VK_SUCCESS;
  }
  const uint32_t room = *count;
  *count = std::min(room, total);
  std::copy_n(all.begin(), *count, out);
  return room < total ? VK_INCOMPLETE : VK_SUCCESS;
}

}  // namespace vesper::client
