// A picture that is drawn into, with a pipeline of triangles of one colour each.
#pragma once

#include "tools/bench/gpu.h"

namespace vesper::tools::bench {

struct Triangle {
  float corner[2], size[2], colour[4];  // in clip space; what each draw is given as push constants
};
static_assert(sizeof(Triangle) == 32);

// A pipeline that draws triangles into pictures of that format.
Owned<VkPipeline> MakeDrawing(const Gpu& gpu, VkPipelineLayout layout, VkShaderModule vertex, VkShaderModule fragment,
                              VkFormat format);

class Canvas {
 public:
  Canvas(const Gpu& gpu, uint32_t width, uint32_t height);

  VkImage image() const { return image_; }
  VkExtent3D extent() const { return {width_, height_, 1}; }
  size_t bytes() const { return size_t{4} * width_ * height_; }
  VkImageViewCreateInfo ViewInfo() const;

  // What was in the picture is gone; draws follow.
  void Begin(VkCommandBuffer commands) const;
  void Push(VkCommandBuffer commands, const Triangle& triangle) const {
    vkCmdPushConstants(commands, layout_, VK_SHADER_STAGE_VERTEX_BIT, 0, sizeof(triangle), &triangle);
  }
  // The picture can then be copied.
  void End(VkCommandBuffer commands) const;
  void CopyTo(VkCommandBuffer commands, VkBuffer buffer) const;

 private:
  void ChangeLayout(VkCommandBuffer commands, VkImageLayout from, VkImageLayout to) const;

  uint32_t width_, height_;
  Owned<VkImage> image_;
  Owned<VkDeviceMemory> memory_;
  Owned<VkImageView> view_;
  Owned<VkPipelineLayout> layout_;
  Owned<VkPipeline> pipeline_;
};

}  // namespace vesper::tools::bench
