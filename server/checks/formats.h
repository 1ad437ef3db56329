// How many bytes texels take in buffers that are copied from and to.
#pragma once

#include <vulkan/vulkan.h>

#include <cstdint>

namespace vesper::server::checks {

// A block of texels; of no bytes where the format is not one of Vulkan 1.0, or the aspect is a plane.
struct TexelBlock {
  uint32_t bytes = 0;
  uint32_t width = 1;
  uint32_t height = 1;
};

TexelBlock BlockOf(VkFormat format, VkImageAspectFlags aspect);

// Up to the last byte of a region, from its beginning.
uint64_t BytesOf(const TexelBlock& block, uint32_t row_length, uint32_t image_height, const VkExtent3D& extent,
                 uint32_t layers);

}  // namespace vesper::server::checks
