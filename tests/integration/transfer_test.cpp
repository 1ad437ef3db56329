// Copies, fills, updates, clears and blits: bytes written by the host come back changed exactly as
// asked.
#include <algorithm>
#include <cstring>

#include "tests/integration/gpu_test.h"

namespace vesper::test {
namespace {

constexpr VkBufferUsageFlags kBoth = VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT;
constexpr VkImageUsageFlags kCopied = VK_IMAGE_USAGE_TRANSFER_SRC_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT;

class TransferTest : public GpuTest {
 protected:
  // The bytes of a device-local buffer.
  std::vector<uint32_t> Download(const Buffer& source) {
    const Buffer back = MakeBuffer(gpu(), source.size, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
    RunCommands(gpu(), [&](VkCommandBuffer commands) {
      const VkBufferCopy whole = {0, 0, source.size};
      vkCmdCopyBuffer(commands, source.handle, back.handle, 1, &whole);
    });
    const auto words = back.As<uint32_t>();
    return {words.begin(), words.end()};
  }
};

TEST_F(TransferTest, StagingWriteCopyFenceReadBack) {
  constexpr size_t kWords = 1 << 18;
  const Buffer staging = MakeBuffer(gpu(), kWords * 4, kBoth, Placement::kHost);
  const Buffer local = MakeBuffer(gpu(), kWords * 4, kBoth, Placement::kDevice);
  const std::vector<uint32_t> pattern = Counting(kWords, 2654435761u);
  std::ranges::copy(pattern, staging.As<uint32_t>().begin());
  RunCommands(gpu(), [&](VkCommandBuffer commands) {
    const VkBufferCopy whole = {0, 0, local.size};
    vkCmdCopyBuffer(commands, staging.handle, local.handle, 1, &whole);
  });
  std::ranges::fill(staging.As<uint32_t>(),
                    0u);  // the copy was taken; later writes do not reach it
  EXPECT_EQ(Download(local), pattern);
}

TEST_F(TransferTest, CopyRegionsLandWhereAsked) {
  const Buffer staging = MakeBuffer(gpu(), 4096, kBoth, Placement::kHost);
  const Buffer local = MakeBuffer(gpu(), 4096, kBoth, Placement::kDevice);
  std::ranges::copy(Counting(1024), staging.As<uint32_t>().begin());
  RunCommands(gpu(), [&](VkCommandBuffer commands) {
    vkCmdFillBuffer(commands, local.handle, 0, VK_WHOLE_SIZE, 0xffffffff);
    FullBarrier(commands);
    const VkBufferCopy regions[] = {{0, 400, 40}, {400, 0, 40}, {4092, 2048, 4}};
    vkCmdCopyBuffer(commands, staging.handle, local.handle, 3, regions);
  });
  std::vector<uint32_t> expected(1024, 0xffffffff);
  for (uint32_t i = 0; i < 10; ++i) {
    expected[100 + i] = i;
    expected[i] = 100 + i;
  }
  expected[512] = 1023;
  EXPECT_EQ(Download(local), expected);
}

TEST_F(TransferTest, FillAndUpdate) {
  const Buffer local = MakeBuffer(gpu(), 65536 * 2, kBoth, Placement::kDevice);
  std::vector<uint32_t> data = Counting(65536 / 4, 40503);  // as large as vkCmdUpdateBuffer takes
  RunCommands(gpu(), [&](VkCommandBuffer commands) {
    vkCmdFillBuffer(commands, local.handle, 0, VK_WHOLE_SIZE, 0x01020304);
    FullBarrier(commands);
    vkCmdUpdateBuffer(commands, local.handle, 65536, 65536, data.data());
    std::ranges::fill(data, 0u);  // recorded by value
    FullBarrier(commands);
    vkCmdFillBuffer(commands, local.handle, 16, 32, 0xa5a5a5a5);
  });
  std::vector<uint32_t> expected(65536 / 4, 0x01020304);
  std::fill_n(expected.begin() + 4, 8, 0xa5a5a5a5);
  std::ranges::copy(Counting(65536 / 4, 40503), std::back_inserter(expected));
  EXPECT_EQ(Download(local), expected);
}

// A program may give up a command buffer in the middle, however much of it has been sent: freed, reset with its pool, or begun
// anew after a reset, nothing of it happens.
TEST_F(TransferTest, LongRecordingsThatAreGivenUp) {
  constexpr VkDeviceSize kSize = 4096;
  const Buffer target = MakeBuffer(gpu(), kSize, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
  const Owned<VkCommandPool> pool = MakeCommandPool(gpu());
  const auto record = [&](VkCommandBuffer commands, uint32_t value) {
    BeginCommands(commands);
    for (int i = 0; i < 2000; ++i) vkCmdFillBuffer(commands, target.handle, 0, kSize, value);
  };
  for (uint32_t round = 1; round <= 3; ++round) {
    const VkCommandBuffer freed = AllocateCommands(gpu(), pool);
    record(freed, 100);
    vkFreeCommandBuffers(gpu().device(), pool, 1, &freed);
    const VkCommandBuffer commands = AllocateCommands(gpu(), pool);
    record(commands, 200);
    VK_CHECK(vkResetCommandPool(gpu().device(), pool, 0));
    record(commands, 300);
    VK_CHECK(vkResetCommandBuffer(commands, 0));
    record(commands, round);
    FullBarrier(commands);
    VK_CHECK(vkEndCommandBuffer(commands));
    const Owned<VkFence> fence = MakeFence(gpu());
    Submit(gpu(), commands, fence);
    WaitFor(gpu(), fence);
    ASSERT_EQ(target.As<uint32_t>()[7], round);
    VK_CHECK(vkResetCommandPool(gpu().device(), pool, 0));
  }
}

TEST_F(TransferTest, CopyCommands2) {
  const Buffer staging = MakeBuffer(gpu(), 256, kBoth, Placement::kHost);
  const Buffer local = MakeBuffer(gpu(), 256, kBoth, Placement::kDevice);
  std::ranges::copy(Counting(64, 17), staging.As<uint32_t>().begin());
  RunCommands(gpu(), [&](VkCommandBuffer commands) {
    VkBufferCopy2 region = {VK_STRUCTURE_TYPE_BUFFER_COPY_2};
    region.size = 256;
    VkCopyBufferInfo2 info = {VK_STRUCTURE_TYPE_COPY_BUFFER_INFO_2};
    info.srcBuffer = staging.handle;
    info.dstBuffer = local.handle;
    info.regionCount = 1;
    info.pRegions = &region;
    vkCmdCopyBuffer2(commands, &info);
  });
  EXPECT_EQ(Download(local), Counting(64, 17));
}

TEST_F(TransferTest, ImageCopies) {
  const Image a = MakeImage(gpu(), VK_FORMAT_R8G8B8A8_UNORM, 32, 16, kCopied);
  const Image b = MakeImage(gpu(), VK_FORMAT_R8G8B8A8_UNORM, 32, 16, kCopied);
  std::vector<uint8_t> texels(32 * 16 * 4);
  for (size_t i = 0; i < texels.size(); ++i) texels[i] = static_cast<uint8_t>(i * 7 + i / 64);
  WriteTexels(gpu(), a, texels, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
  RunCommands(gpu(), [&](VkCommandBuffer commands) {
    ChangeLayout(commands, b, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
    // The halves change places.
    VkImageCopy halves[2] = {};
    for (VkImageCopy& half : halves) {
      half.srcSubresource = half.dstSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1};
      half.extent = {16, 16, 1};
    }
    halves[0].dstOffset.x = 16;
    halves[1].srcOffset.x = 16;
    vkCmdCopyImage(commands, a.handle, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, b.handle,
                   VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, 2, halves);
    ChangeLayout(commands, b, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
  });
  std::vector<uint8_t> expected = texels;
  for (size_t row = 0; row < 16; ++row) {
    std::swap_ranges(expected.begin() + static_cast<long>(row * 128),
                     expected.begin() + static_cast<long>(row * 128 + 64),
                     expected.begin() + static_cast<long>(row * 128 + 64));
  }
  EXPECT_EQ(ReadTexels(gpu(), b, 4), expected);
}

TEST_F(TransferTest, BlitScalesAndFlips) {
  const Image small = MakeImage(gpu(), VK_FORMAT_R8G8B8A8_UNORM, 4, 4, kCopied);
  const Image large = MakeImage(gpu(), VK_FORMAT_R8G8B8A8_UNORM, 16, 16, kCopied);
  std::vector<uint8_t> texels(4 * 4 * 4);
  for (size_t i = 0; i < texels.size(); ++i) texels[i] = static_cast<uint8_t>(i * 3);
  WriteTexels(gpu(), small, texels, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
  RunCommands(gpu(), [&](VkCommandBuffer commands) {
    ChangeLayout(commands, large, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
    VkImageBlit blit = {};
    blit.srcSubresource = blit.dstSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1};
    blit.srcOffsets[1] = {4, 4, 1};
    blit.dstOffsets[0] = {16, 0, 0};  // mirrored in x
    blit.dstOffsets[1] = {0, 16, 1};
    vkCmdBlitImage(commands, small.handle, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, large.handle,
                   VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, 1, &blit, VK_FILTER_NEAREST);
    ChangeLayout(commands, large, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
  });
  const std::vector<uint8_t> result = ReadTexels(gpu(), large, 4);
  for (size_t y = 0; y < 16; ++y) {
    for (size_t x = 0; x < 16; ++x) {
      const size_t source = (y / 4 * 4 + (15 - x) / 4) * 4;
      ASSERT_EQ(std::memcmp(&result[(y * 16 + x) * 4], &texels[source], 4), 0) << x << ',' << y;
    }
  }
}

// Unions without a selector: the colour is float, signed or unsigned by the image's format.
TEST_F(TransferTest, ClearColourByFormatKind) {
  struct Case {
    VkFormat format;
    VkClearColorValue value;
    std::vector<uint8_t> texel;
  };
  Case cases[3] = {{VK_FORMAT_R8G8B8A8_UNORM, {}, {255, 0, 255, 0}},
                   {VK_FORMAT_R32_UINT, {}, {0xef, 0xbe, 0xad, 0xde}},
                   {VK_FORMAT_R16G16_SINT, {}, {0xfe, 0xff, 0x39, 0x30}}};
  cases[0].value.float32[0] = cases[0].value.float32[2] = 1.0f;
  cases[1].value.uint32[0] = 0xdeadbeef;
  cases[2].value.int32[0] = -2;
  cases[2].value.int32[1] = 12345;
  for (const Case& clear : cases) {
    const Image image = MakeImage(gpu(), clear.format, 8, 8, kCopied);
    RunCommands(gpu(), [&](VkCommandBuffer commands) {
      ChangeLayout(commands, image, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
      const VkImageSubresourceRange range = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
      vkCmdClearColorImage(commands, image.handle, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, &clear.value, 1, &range);
      ChangeLayout(commands, image, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
    });
    const std::vector<uint8_t> texels = ReadTexels(gpu(), image, 4);
    for (size_t i = 0; i < texels.size(); ++i) {
      ASSERT_EQ(texels[i], clear.texel[i % 4]) << "format " << clear.format << " byte " << i;
    }
  }
}

TEST_F(TransferTest, ClearDepth) {
  const Image depth = MakeImage(gpu(), VK_FORMAT_D32_SFLOAT, 8, 8,
                                kCopied | VK_IMAGE_USAGE_DEPTH_STENCIL_ATTACHMENT_BIT, VK_IMAGE_ASPECT_DEPTH_BIT);
  RunCommands(gpu(), [&](VkCommandBuffer commands) {
    ChangeLayout(commands, depth, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
    const VkClearDepthStencilValue value = {0.25f, 0};
    const VkImageSubresourceRange range = {VK_IMAGE_ASPECT_DEPTH_BIT, 0, 1, 0, 1};
    vkCmdClearDepthStencilImage(commands, depth.handle, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, &value, 1, &range);
    ChangeLayout(commands, depth, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
  });
  const std::vector<uint8_t> texels = ReadTexels(gpu(), depth, 4);
  for (size_t i = 0; i < texels.size(); i += 4) {
    float value = 0;
    std::memcpy(&value, &texels[i], 4);
    ASSERT_EQ(value, 0.25f);
  }
}

// Rows longer than the image and several mip levels and layers in one copy.
TEST_F(TransferTest, MipLevelsAndLayersWithRowLength) {
  VkImageCreateInfo info = {VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO};
  info.imageType = VK_IMAGE_TYPE_2D;
  info.format = VK_FORMAT_R8_UINT;
  info.extent = {16, 16, 1};
  info.mipLevels = 2;
  info.arrayLayers = 3;
  info.samples = VK_SAMPLE_COUNT_1_BIT;
  info.usage = kCopied;
  Image image;
  image.handle = Create<VkImage>(device(), vkCreateImage, vkDestroyImage, info);
  VkMemoryRequirements requirements;
  vkGetImageMemoryRequirements(device(), image.handle, &requirements);
  VkMemoryAllocateInfo allocate = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO};
  allocate.allocationSize = requirements.size;
  allocate.memoryTypeIndex = gpu().FindMemoryType(requirements.memoryTypeBits, 0);
  image.memory = Create<VkDeviceMemory>(device(), vkAllocateMemory, vkFreeMemory, allocate);
  VK_CHECK(vkBindImageMemory(device(), image.handle, image.memory, 0));

  const Buffer in = MakeBuffer(gpu(), 8192, kBoth, Placement::kHost);
  const Buffer out = MakeBuffer(gpu(), 8192, kBoth, Placement::kHost);
  for (size_t i = 0; i < 8192; ++i) in.As<uint8_t>()[i] = static_cast<uint8_t>(i * 31 + i / 256);
  std::memset(out.mapped, 0, 8192);
  VkBufferImageCopy copies[2] = {};
  copies[0].bufferRowLength = 32;
  copies[0].bufferImageHeight = 20;
  copies[0].imageSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 3};
  copies[0].imageExtent = {16, 16, 1};
  copies[1].bufferOffset = 4096;
  copies[1].imageSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 1, 1, 2};
  copies[1].imageExtent = {8, 8, 1};
  RunCommands(gpu(), [&](VkCommandBuffer commands) {
    ChangeLayout(commands, image, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
    vkCmdCopyBufferToImage(commands, in.handle, image.handle, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, 2, copies);
    ChangeLayout(commands, image, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
    vkCmdCopyImageToBuffer(commands, image.handle, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, out.handle, 2, copies);
  });
  for (size_t layer = 0; layer < 3; ++layer) {
    for (size_t row = 0; row < 16; ++row) {
      const size_t at = layer * 32 * 20 + row * 32;
      ASSERT_EQ(std::memcmp(&out.As<uint8_t>()[at], &in.As<uint8_t>()[at], 16), 0);
    }
  }
  EXPECT_EQ(std::memcmp(&out.As<uint8_t>()[4096], &in.As<uint8_t>()[4096], 128), 0);
  EXPECT_EQ(out.As<uint8_t>()[16], 0);  // between the rows nothing is written
}

}  // namespace
}  // namespace vesper::test
