#include "server/checks/formats.h"

#include <algorithm>
#include <iterator>

namespace vesper::server::checks {
namespace {

struct Range {
  VkFormat last;  // from behind that of the range before it
  TexelBlock block;
};

// Formats of Vulkan 1.0 in the order of their numbers.
constexpr Range kRanges[] = {
    {VK_FORMAT_R4G4_UNORM_PACK8, {1, 1, 1}},
    {VK_FORMAT_A1R5G5B5_UNORM_PACK16, {2, 1, 1}},
    {VK_FORMAT_R8_SRGB, {1, 1, 1}},
    {VK_FORMAT_R8G8_SRGB, {2, 1, 1}},
    {VK_FORMAT_B8G8R8_SRGB, {3, 1, 1}},
    {VK_FORMAT_A2B10G10R10_SINT_PACK32, {4, 1, 1}},
    {VK_FORMAT_R16_SFLOAT, {2, 1, 1}},
    {VK_FORMAT_R16G16_SFLOAT, {4, 1, 1}},
    {VK_FORMAT_R16G16B16_SFLOAT, {6, 1, 1}},
    {VK_FORMAT_R16G16B16A16_SFLOAT, {8, 1, 1}},
    {VK_FORMAT_R32_SFLOAT, {4, 1, 1}},
    {VK_FORMAT_R32G32_SFLOAT, {8, 1, 1}},
    {VK_FORMAT_R32G32B32_SFLOAT, {12, 1, 1}},
    {VK_FORMAT_R32G32B32A32_SFLOAT, {16, 1, 1}},
    {VK_FORMAT_R64_SFLOAT, {8, 1, 1}},
    {VK_FORMAT_R64G64_SFLOAT, {16, 1, 1}},
    {VK_FORMAT_R64G64B64_SFLOAT, {24, 1, 1}},
    {VK_FORMAT_R64G64B64A64_SFLOAT, {32, 1, 1}},
    {VK_FORMAT_E5B9G9R9_UFLOAT_PACK32, {4, 1, 1}},
    {VK_FORMAT_D16_UNORM, {2, 1, 1}},
    {VK_FORMAT_D32_SFLOAT, {4, 1, 1}},
    {VK_FORMAT_S8_UINT, {1, 1, 1}},
    {VK_FORMAT_D16_UNORM_S8_UINT, {2, 1, 1}},   // of depth
    {VK_FORMAT_D32_SFLOAT_S8_UINT, {4, 1, 1}},  // of depth
    {VK_FORMAT_BC1_RGBA_SRGB_BLOCK, {8, 4, 4}},
    {VK_FORMAT_BC3_SRGB_BLOCK, {16, 4, 4}},
    {VK_FORMAT_BC4_SNORM_BLOCK, {8, 4, 4}},
    {VK_FORMAT_BC7_SRGB_BLOCK, {16, 4, 4}},
    {VK_FORMAT_ETC2_R8G8B8A1_SRGB_BLOCK, {8, 4, 4}},
    {VK_FORMAT_ETC2_R8G8B8A8_SRGB_BLOCK, {16, 4, 4}},
    {VK_FORMAT_EAC_R11_SNORM_BLOCK, {8, 4, 4}},
    {VK_FORMAT_EAC_R11G11_SNORM_BLOCK, {16, 4, 4}},
    {VK_FORMAT_ASTC_4x4_SRGB_BLOCK, {16, 4, 4}},
    {VK_FORMAT_ASTC_5x4_SRGB_BLOCK, {16, 5, 4}},
    {VK_FORMAT_ASTC_5x5_SRGB_BLOCK, {16, 5, 5}},
    {VK_FORMAT_ASTC_6x5_SRGB_BLOCK, {16, 6, 5}},
    {VK_FORMAT_ASTC_6x6_SRGB_BLOCK, {16, 6, 6}},
    {VK_FORMAT_ASTC_8x5_SRGB_BLOCK, {16, 8, 5}},
    {VK_FORMAT_ASTC_8x6_SRGB_BLOCK, {16, 8, 6}},
    {VK_FORMAT_ASTC_8x8_SRGB_BLOCK, {16, 8, 8}},
    {VK_FORMAT_ASTC_10x5_SRGB_BLOCK, {16, 10, 5}},
    {VK_FORMAT_ASTC_10x6_SRGB_BLOCK, {16, 10, 6}},
    {VK_FORMAT_ASTC_10x8_SRGB_BLOCK, {16, 10, 8}},
    {VK_FORMAT_ASTC_10x10_SRGB_BLOCK, {16, 10, 10}},
    {VK_FORMAT_ASTC_12x10_SRGB_BLOCK, {16, 12, 10}},
    {VK_FORMAT_ASTC_12x12_SRGB_BLOCK, {16, 12, 12}},
};

uint64_t Blocks(uint64_t texels, uint32_t of) { return (texels + of - 1) / of; }

}  // namespace

TexelBlock BlockOf(VkFormat format, VkImageAspectFlags aspect) {
  if ((aspect & (VK_IMAGE_ASPECT_COLOR_BIT | VK_IMAGE_ASPECT_DEPTH_BIT | VK_IMAGE_ASPECT_STENCIL_BIT)) == 0) return {};
  if (aspect == VK_IMAGE_ASPECT_STENCIL_BIT) return {1, 1, 1};
  const auto* found =
      std::find_if(std::begin(kRanges), std::end(kRanges), [&](const Range& r) { return format <= r.last; });
  return found == std::end(kRanges) || format <= VK_FORMAT_UNDEFINED ? TexelBlock{} : found->block;
}

uint64_t BytesOf(const TexelBlock& block, uint32_t row_length, uint32_t image_height, const VkExtent3D& extent,
                 uint32_t layers) {
  const uint64_t slices = uint64_t{extent.depth} * layers;
  if (extent.width == 0 || extent.height == 0 || slices == 0) return 0;
  using Wide = unsigned __int128;
  const Wide row = Blocks(row_length == 0 ? extent.width : row_length, block.width);
  const Wide rows = Blocks(image_height == 0 ? extent.height : image_height, block.height);
  const Wide before = (Wide{slices - 1} * rows + (Blocks(extent.height, block.height) - 1)) * row;
  const Wide bytes = (before + Blocks(extent.width, block.width)) * block.bytes;
  return bytes > UINT64_MAX ? UINT64_MAX : static_cast<uint64_t>(bytes);
}

}  // namespace vesper::server::checks
