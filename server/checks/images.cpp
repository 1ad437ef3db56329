// Regions of images, views of them, and what is rendered to.
#include <algorithm>

#include "server/checks/checks.h"
#include "server/checks/formats.h"

namespace vesper::server::checks {
namespace {

VkExtent3D ExtentOf(const ImageFacts& image, uint32_t level) {
  return {std::max(image.extent.width >> level, 1u), std::max(image.extent.height >> level, 1u),
          std::max(image.extent.depth >> level, 1u)};
}

const ImageFacts* ImageOf(const Checker& c, VkImage image) { return c.Find<ImageFacts>(HandleType::kImage, image); }

// One level and layers of an image; the extent of that level, or zeros when there is none.
VkExtent3D CheckLayers(Checker& c, const ImageFacts& image, const VkImageSubresourceLayers& layers) {
  if (layers.mipLevel >= image.levels) {
    c.Fail("mipLevel");
    return {};
  }
  const bool rest = layers.layerCount == VK_REMAINING_ARRAY_LAYERS;
  c.Span("baseArrayLayer layerCount", layers.baseArrayLayer, rest ? 0 : layers.layerCount, image.layers);
  return ExtentOf(image, layers.mipLevel);
}

void CheckAxis(Checker& c, const char* members, int32_t offset, uint32_t extent, uint32_t whole) {
  if (offset < 0) return c.Fail(members);
  c.Span(members, static_cast<uint64_t>(offset), extent, whole);
}

void CheckRegion(Checker& c, VkImage handle, const VkImageSubresourceLayers& layers, const VkOffset3D& offset,
                 const VkExtent3D& extent) {
  const ImageFacts* image = ImageOf(c, handle);
  if (image == nullptr) return;
  const VkExtent3D whole = CheckLayers(c, *image, layers);
  CheckAxis(c, "offset.x extent.width", offset.x, extent.width, whole.width);
  CheckAxis(c, "offset.y extent.height", offset.y, extent.height, whole.height);
  // Layers of a 2D image may stand for the depth of a 3D one.
  if (image->extent.depth > 1) CheckAxis(c, "offset.z", offset.z, 0, whole.depth);
}

template <typename Region>
void CheckCopies(Checker& c, VkImage source, VkImage target, const Region* regions, uint32_t count) {
  const ImageFacts* from = ImageOf(c, source);
  const ImageFacts* to = ImageOf(c, target);
  // Texels of another size make an extent of another meaning in the target.
  const bool same = from != nullptr && to != nullptr && from->format == to->format;
  for (uint32_t i = 0; i < count; ++i) {
    CheckRegion(c, source, regions[i].srcSubresource, regions[i].srcOffset, regions[i].extent);
    CheckRegion(c, target, regions[i].dstSubresource, regions[i].dstOffset, same ? regions[i].extent : VkExtent3D{});
  }
}

void CheckCorners(Checker& c, VkImage image, const VkImageSubresourceLayers& layers, const VkOffset3D (&corners)[2]) {
  for (const VkOffset3D& corner : corners) CheckRegion(c, image, layers, corner, {});
}

template <typename Region>
void CheckBlits(Checker& c, VkImage source, VkImage target, const Region* regions, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    CheckCorners(c, source, regions[i].srcSubresource, regions[i].srcOffsets);
    CheckCorners(c, target, regions[i].dstSubresource, regions[i].dstOffsets);
  }
}

template <typename Region>
void CheckBufferCopies(Checker& c, VkBuffer buffer, VkImage handle, const Region* regions, uint32_t count) {
  const uint64_t size = c.Of(HandleType::kBuffer, buffer).size;
  const ImageFacts* image = ImageOf(c, handle);
  for (uint32_t i = 0; i < count; ++i) {
    const Region& region = regions[i];
    CheckRegion(c, handle, region.imageSubresource, region.imageOffset, region.imageExtent);
    if (image == nullptr) continue;
    const bool rest = region.imageSubresource.layerCount == VK_REMAINING_ARRAY_LAYERS;
    const uint32_t layers = rest ? image->layers - std::min(image->layers, region.imageSubresource.baseArrayLayer)
                                 : region.imageSubresource.layerCount;
    const uint64_t bytes = BytesOf(BlockOf(image->format, region.imageSubresource.aspectMask), region.bufferRowLength,
                                   region.bufferImageHeight, region.imageExtent, layers);
    c.Span("bufferOffset bufferRowLength bufferImageHeight imageExtent", region.bufferOffset, bytes, size);
  }
}

void CheckRanges(Checker& c, VkImage handle, const VkImageSubresourceRange* ranges, uint32_t count) {
  const ImageFacts* image = ImageOf(c, handle);
  for (uint32_t i = 0; image != nullptr && ranges != nullptr && i < count; ++i) {
    const bool rest = ranges[i].levelCount == VK_REMAINING_MIP_LEVELS;
    c.Span("baseMipLevel levelCount", ranges[i].baseMipLevel, rest ? 0 : ranges[i].levelCount, image->levels);
    const bool all = ranges[i].layerCount == VK_REMAINING_ARRAY_LAYERS;
    const uint32_t layers =
        std::max(image->layers, image->extent.depth);  // slices of a 3D image may be layers of a view
    c.Span("baseArrayLayer layerCount", ranges[i].baseArrayLayer, all ? 0 : ranges[i].layerCount, layers);
  }
}

template <typename Reference>
void CheckReferences(Checker& c, const Reference* references, uint32_t count, uint32_t attachments) {
  for (uint32_t i = 0; references != nullptr && i < count; ++i) {
    if (references[i].attachment != VK_ATTACHMENT_UNUSED) c.Index("attachment", references[i].attachment, attachments);
  }
}

template <typename Info>
void CheckRenderPass(Checker& c, const Info& info) {
  for (uint32_t i = 0; i < info.subpassCount; ++i) {
    const auto& subpass = info.pSubpasses[i];
    CheckReferences(c, subpass.pInputAttachments, subpass.inputAttachmentCount, info.attachmentCount);
    CheckReferences(c, subpass.pColorAttachments, subpass.colorAttachmentCount, info.attachmentCount);
    CheckReferences(c, subpass.pResolveAttachments, subpass.colorAttachmentCount, info.attachmentCount);
    CheckReferences(c, subpass.pDepthStencilAttachment, 1, info.attachmentCount);
    for (uint32_t j = 0; subpass.pPreserveAttachments != nullptr && j < subpass.preserveAttachmentCount; ++j) {
      c.Index("pPreserveAttachments", subpass.pPreserveAttachments[j], info.attachmentCount);
    }
    c.Span("colorAttachmentCount", 0, subpass.colorAttachmentCount, c.limits().maxColorAttachments);
  }
  for (uint32_t i = 0; i < info.dependencyCount; ++i) {
    for (const uint32_t subpass : {info.pDependencies[i].srcSubpass, info.pDependencies[i].dstSubpass}) {
      if (subpass != VK_SUBPASS_EXTERNAL) c.Index("srcSubpass dstSubpass", subpass, info.subpassCount);
    }
  }
}

void CheckArea(Checker& c, const VkRect2D& area, const VkExtent2D& whole) {
  CheckAxis(c, "renderArea.offset.x renderArea.extent.width", area.offset.x, area.extent.width, whole.width);
  CheckAxis(c, "renderArea.offset.y renderArea.extent.height", area.offset.y, area.extent.height, whole.height);
}

void CheckRenderPassBegin(Checker& c, const VkRenderPassBeginInfo& info) {
  if (const auto* framebuffer = c.Find<AreaFacts>(HandleType::kFramebuffer, info.framebuffer)) {
    CheckArea(c, info.renderArea, framebuffer->extent);
  }
  if (const auto* pass = c.Find<RenderPassFacts>(HandleType::kRenderPass, info.renderPass)) {
    c.Span("clearValueCount", 0, pass->clears, info.pClearValues == nullptr ? 0 : info.clearValueCount);
  }
}

void CheckTarget(Checker& c, const VkRect2D& area, const VkRenderingAttachmentInfo* attachment) {
  if (attachment == nullptr || attachment->imageView == VK_NULL_HANDLE) return;
  const auto* view = c.Find<AreaFacts>(HandleType::kImageView, attachment->imageView);
  if (view != nullptr) CheckArea(c, area, view->extent);
}

}  // namespace

void View(Checker& c, const wire::CreateImageViewArgs& v) {
  CheckRanges(c, v.pCreateInfo->image, &v.pCreateInfo->subresourceRange, 1);
}

void Attachments(Checker& c, const wire::CreateRenderPassArgs& v) { CheckRenderPass(c, *v.pCreateInfo); }
void Attachments(Checker& c, const wire::CreateRenderPass2Args& v) { CheckRenderPass(c, *v.pCreateInfo); }

void Framebuffer(Checker& c, const wire::CreateFramebufferArgs& v) {
  const VkFramebufferCreateInfo& info = *v.pCreateInfo;
  if (const auto* pass = c.Find<RenderPassFacts>(HandleType::kRenderPass, info.renderPass)) {
    c.Span("attachmentCount", 0, pass->attachments, info.attachmentCount);
  }
  for (uint32_t i = 0; info.pAttachments != nullptr && i < info.attachmentCount; ++i) {
    const auto* view = c.Find<AreaFacts>(HandleType::kImageView, info.pAttachments[i]);
    if (view == nullptr) continue;
    c.Span("width", 0, info.width, view->extent.width);
    c.Span("height", 0, info.height, view->extent.height);
  }
}

void RenderArea(Checker& c, const wire::CmdBeginRenderPassArgs& v) { CheckRenderPassBegin(c, *v.pRenderPassBegin); }
void RenderArea(Checker& c, const wire::CmdBeginRenderPass2Args& v) { CheckRenderPassBegin(c, *v.pRenderPassBegin); }

void RenderArea(Checker& c, const wire::CmdBeginRenderingArgs& v) {
  const VkRenderingInfo& info = *v.pRenderingInfo;
  c.Span("colorAttachmentCount", 0, info.colorAttachmentCount, c.limits().maxColorAttachments);
  for (uint32_t i = 0; info.pColorAttachments != nullptr && i < info.colorAttachmentCount; ++i) {
    CheckTarget(c, info.renderArea, &info.pColorAttachments[i]);
  }
  CheckTarget(c, info.renderArea, info.pDepthAttachment);
  CheckTarget(c, info.renderArea, info.pStencilAttachment);
}

void Regions(Checker& c, const wire::CmdCopyImageArgs& v) {
  CheckCopies(c, v.srcImage, v.dstImage, v.pRegions, v.regionCount);
}
void Regions(Checker& c, const wire::CmdCopyImage2Args& v) {
  CheckCopies(c, v.pCopyImageInfo->srcImage, v.pCopyImageInfo->dstImage, v.pCopyImageInfo->pRegions,
              v.pCopyImageInfo->regionCount);
}
void Regions(Checker& c, const wire::CmdBlitImageArgs& v) {
  CheckBlits(c, v.srcImage, v.dstImage, v.pRegions, v.regionCount);
}
void Regions(Checker& c, const wire::CmdBlitImage2Args& v) {
  CheckBlits(c, v.pBlitImageInfo->srcImage, v.pBlitImageInfo->dstImage, v.pBlitImageInfo->pRegions,
             v.pBlitImageInfo->regionCount);
}
void Regions(Checker& c, const wire::CmdResolveImageArgs& v) {
  CheckCopies(c, v.srcImage, v.dstImage, v.pRegions, v.regionCount);
}
void Regions(Checker& c, const wire::CmdResolveImage2Args& v) {
  CheckCopies(c, v.pResolveImageInfo->srcImage, v.pResolveImageInfo->dstImage, v.pResolveImageInfo->pRegions,
              v.pResolveImageInfo->regionCount);
}
void Regions(Checker& c, const wire::CmdCopyBufferToImageArgs& v) {
  CheckBufferCopies(c, v.srcBuffer, v.dstImage, v.pRegions, v.regionCount);
}
void Regions(Checker& c, const wire::CmdCopyBufferToImage2Args& v) {
  CheckBufferCopies(c, v.pCopyBufferToImageInfo->srcBuffer, v.pCopyBufferToImageInfo->dstImage,
                    v.pCopyBufferToImageInfo->pRegions, v.pCopyBufferToImageInfo->regionCount);
}
void Regions(Checker& c, const wire::CmdCopyImageToBufferArgs& v) {
  CheckBufferCopies(c, v.dstBuffer, v.srcImage, v.pRegions, v.regionCount);
}
void Regions(Checker& c, const wire::CmdCopyImageToBuffer2Args& v) {
  CheckBufferCopies(c, v.pCopyImageToBufferInfo->dstBuffer, v.pCopyImageToBufferInfo->srcImage,
                    v.pCopyImageToBufferInfo->pRegions, v.pCopyImageToBufferInfo->regionCount);
}

void Cleared(Checker& c, const wire::CmdClearColorImageArgs& v) { CheckRanges(c, v.image, v.pRanges, v.rangeCount); }
void Cleared(Checker& c, const wire::CmdClearDepthStencilImageArgs& v) {
  CheckRanges(c, v.image, v.pRanges, v.rangeCount);
}

}  // namespace vesper::server::checks
