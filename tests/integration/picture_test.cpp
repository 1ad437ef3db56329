// Pictures rendered off screen, checked for what must be in them and, where a reference folder is
// given (the same program's pictures from the local driver), compared pixel for pixel.
#include "tests/support/picture.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "shaders/colour_frag.h"
#include "shaders/mesh_vert.h"
#include "shaders/screen_vert.h"
#include "shaders/second_pass_frag.h"
#include "shaders/texture_frag.h"
#include "shaders/triangle_vert.h"
#include "tests/integration/gpu_test.h"

namespace vesper::test {
namespace {

constexpr uint32_t kWidth = 320, kHeight = 240;
constexpr VkFormat kFormat = VK_FORMAT_R8G8B8A8_UNORM;

struct TrianglePush {
  float x, y, scale, depth;
};

class PictureTest : public GpuTest {
 protected:
  Image MakeTarget(VkImageUsageFlags more = 0) {
    return MakeImage(gpu(), kFormat, kWidth, kHeight,
                     VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT | VK_IMAGE_USAGE_TRANSFER_SRC_BIT | more);
  }
  Owned<VkPipelineLayout> TriangleLayout() {
    const VkPushConstantRange range = {VK_SHADER_STAGE_VERTEX_BIT, 0, sizeof(TrianglePush)};
    return MakePipelineLayout(gpu(), {}, {&range, 1});
  }
  static void DrawTriangle(VkCommandBuffer commands, VkPipelineLayout layout, const TrianglePush& push) {
    vkCmdPushConstants(commands, layout, VK_SHADER_STAGE_VERTEX_BIT, 0, sizeof push, &push);
    vkCmdDraw(commands, 3, 1, 0, 0);
  }
  // One subpass that clears, draws into `target` and leaves it to be copied.
  Owned<VkRenderPass> OneSubpass() {
    VkAttachmentDescription attachment = {};
    attachment.format = kFormat;
    attachment.samples = VK_SAMPLE_COUNT_1_BIT;
    attachment.loadOp = VK_ATTACHMENT_LOAD_OP_CLEAR;
    attachment.storeOp = VK_ATTACHMENT_STORE_OP_STORE;
    attachment.stencilLoadOp = VK_ATTACHMENT_LOAD_OP_DONT_CARE;
    attachment.stencilStoreOp = VK_ATTACHMENT_STORE_OP_DONT_CARE;
    attachment.finalLayout = VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL;
    const VkAttachmentReference colour = {0, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL};
    VkSubpassDescription subpass = {};
    subpass.colorAttachmentCount = 1;
    subpass.pColorAttachments = &colour;
    VkRenderPassCreateInfo info = {VK_STRUCTURE_TYPE_RENDER_PASS_CREATE_INFO};
    info.attachmentCount = 1;
    info.pAttachments = &attachment;
    info.subpassCount = 1;
    info.pSubpasses = &subpass;
    return Create<VkRenderPass>(device(), vkCreateRenderPass, vkDestroyRenderPass, info);
  }
  Owned<VkFramebuffer> MakeFramebuffer(VkRenderPass pass, std::vector<VkImageView> views) {
    VkFramebufferCreateInfo info = {VK_STRUCTURE_TYPE_FRAMEBUFFER_CREATE_INFO};
    info.renderPass = pass;
    info.attachmentCount = static_cast<uint32_t>(views.size());
    info.pAttachments = views.data();
    info.width = kWidth;
    info.height = kHeight;
    info.layers = 1;
    return Create<VkFramebuffer>(device(), vkCreateFramebuffer, vkDestroyFramebuffer, info);
  }
  static void BeginPass(VkCommandBuffer commands, VkRenderPass pass, VkFramebuffer framebuffer,
                        std::vector<VkClearValue> clears, VkSubpassContents contents = VK_SUBPASS_CONTENTS_INLINE) {
    VkRenderPassBeginInfo begin = {VK_STRUCTURE_TYPE_RENDER_PASS_BEGIN_INFO};
    begin.renderPass = pass;
    begin.framebuffer = framebuffer;
    begin.renderArea.extent = {kWidth, kHeight};
    begin.clearValueCount = static_cast<uint32_t>(clears.size());
    begin.pClearValues = clears.data();
    vkCmdBeginRenderPass(commands, &begin, contents);
  }
  static VkClearValue Grey(float value) {
    VkClearValue clear = {};
    clear.color = {{value, value, value, 1.0f}};
    return clear;
  }
  // The picture in `target`; judged under the test's name.
  Picture Judge(const Image& target) {
    Picture picture = {kWidth, kHeight, ReadTexels(gpu(), target, 4)};
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    EXPECT_EQ(JudgePicture(test->name(), picture), "");
    return picture;
  }
  static std::array<int, 3> At(const Picture& picture, uint32_t x, uint32_t y) {
    const uint8_t* pixel = &picture.rgba[(size_t{y} * picture.width + x) * 4];
    return {pixel[0], pixel[1], pixel[2]};
  }
  // Red on top, green to the right, blue to the left, the clear colour in the corners.
  static void ExpectTriangle(const Picture& picture, int grey) {
    EXPECT_EQ(At(picture, 2, 2), (std::array{grey, grey, grey}));
    EXPECT_GT(At(picture, 160, 40)[0], 180);
    EXPECT_GT(At(picture, 270, 210)[1], 180);
    EXPECT_GT(At(picture, 50, 210)[2], 180);
  }
};

TEST_F(PictureTest, Triangle) {
  const Image target = MakeTarget();
  const auto pass = OneSubpass();
  const auto framebuffer = MakeFramebuffer(pass, {target.view});
  const auto layout = TriangleLayout();
  GraphicsState state;
  state.info.layout = layout;
  state.info.renderPass = pass;
  const auto pipeline = state.Build(gpu(), triangle_vert, colour_frag);
  RunCommands(gpu(), [&](VkCommandBuffer commands) {
    BeginPass(commands, pass, framebuffer, {Grey(0.2f)});
    vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
    SetViewport(commands, kWidth, kHeight);
    DrawTriangle(commands, layout, {0, 0, 1, 0.5f});
    vkCmdEndRenderPass(commands);
  });
  ExpectTriangle(Judge(target), 51);
}

TEST_F(PictureTest, SecondaryCommandBuffers) {
  const Image target = MakeTarget();
  const auto pass = OneSubpass();
  const auto framebuffer = MakeFramebuffer(pass, {target.view});
  const auto layout = TriangleLayout();
  GraphicsState state;
  state.info.layout = layout;
  state.info.renderPass = pass;
  const auto pipeline = state.Build(gpu(), triangle_vert, colour_frag);
  const Owned<VkCommandPool> pool = MakeCommandPool(gpu());
  VkCommandBufferInheritanceInfo inheritance = {VK_STRUCTURE_TYPE_COMMAND_BUFFER_INHERITANCE_INFO};
  inheritance.renderPass = pass;
  inheritance.framebuffer = framebuffer;
  std::vector<VkCommandBuffer> secondaries;
  for (int i = 0; i < 6; ++i) {
    const VkCommandBuffer commands = AllocateCommands(gpu(), pool, VK_COMMAND_BUFFER_LEVEL_SECONDARY);
    VkCommandBufferBeginInfo begin = {VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    begin.flags = VK_COMMAND_BUFFER_USAGE_RENDER_PASS_CONTINUE_BIT;
    begin.pInheritanceInfo = &inheritance;
    VK_CHECK(vkBeginCommandBuffer(commands, &begin));
    vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
    SetViewport(commands, kWidth, kHeight);
    const auto column = static_cast<float>(i % 3), row = static_cast<float>(i / 3);
    DrawTriangle(commands, layout, {column * 0.66f - 0.66f, row - 0.5f, 0.3f, 0.5f});
    VK_CHECK(vkEndCommandBuffer(commands));
    secondaries.push_back(commands);
  }
  RunCommands(gpu(), [&](VkCommandBuffer commands) {
    BeginPass(commands, pass, framebuffer, {Grey(0)}, VK_SUBPASS_CONTENTS_SECONDARY_COMMAND_BUFFERS);
    vkCmdExecuteCommands(commands, 6, secondaries.data());
    vkCmdEndRenderPass(commands);
  });
  const Picture picture = Judge(target);
  for (uint32_t i = 0; i < 6; ++i) {  // something drawn in the middle of each cell, nothing at the seams
    const uint32_t x = 160 + (i % 3) * 106 - 106, y = 60 + i / 3 * 120;
    EXPECT_NE(At(picture, x, y), (std::array{0, 0, 0})) << i;
  }
  EXPECT_EQ(At(picture, 160, 119), (std::array{0, 0, 0}));
}

// The nearer triangle wins, whichever is drawn first.
TEST_F(PictureTest, DepthTestWithDynamicRendering) {
  const Image target = MakeTarget();
  const Image depth = MakeImage(gpu(), VK_FORMAT_D32_SFLOAT, kWidth, kHeight,
                                VK_IMAGE_USAGE_DEPTH_STENCIL_ATTACHMENT_BIT, VK_IMAGE_ASPECT_DEPTH_BIT);
  const auto layout = TriangleLayout();
  GraphicsState state;
  state.depth_stencil.depthTestEnable = VK_TRUE;
  state.depth_stencil.depthWriteEnable = VK_TRUE;
  state.depth_stencil.depthCompareOp = VK_COMPARE_OP_LESS;
  state.dynamic_states.push_back(VK_DYNAMIC_STATE_CULL_MODE);
  VkPipelineRenderingCreateInfo formats = {VK_STRUCTURE_TYPE_PIPELINE_RENDERING_CREATE_INFO};
  formats.colorAttachmentCount = 1;
  formats.pColorAttachmentFormats = &target.format;
  formats.depthAttachmentFormat = depth.format;
  state.info.pNext = &formats;
  state.info.layout = layout;
  const auto pipeline = state.Build(gpu(), triangle_vert, colour_frag);
  RunCommands(gpu(), [&](VkCommandBuffer commands) {
    ChangeLayout(commands, target, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL);
    ChangeLayout(commands, depth, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_DEPTH_ATTACHMENT_OPTIMAL);
    VkRenderingAttachmentInfo attachments[2] = {};
    for (auto& attachment : attachments) {
      attachment = {VK_STRUCTURE_TYPE_RENDERING_ATTACHMENT_INFO};
      attachment.loadOp = VK_ATTACHMENT_LOAD_OP_CLEAR;
      attachment.storeOp = VK_ATTACHMENT_STORE_OP_STORE;
    }
    attachments[0].imageView = target.view;
    attachments[0].imageLayout = VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL;
    attachments[1].imageView = depth.view;
    attachments[1].imageLayout = VK_IMAGE_LAYOUT_DEPTH_ATTACHMENT_OPTIMAL;
    attachments[1].clearValue.depthStencil.depth = 1.0f;
    VkRenderingInfo rendering = {VK_STRUCTURE_TYPE_RENDERING_INFO};
    rendering.renderArea.extent = {kWidth, kHeight};
    rendering.layerCount = 1;
    rendering.colorAttachmentCount = 1;
    rendering.pColorAttachments = &attachments[0];
    rendering.pDepthAttachment = &attachments[1];
    vkCmdBeginRendering(commands, &rendering);
    vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
    vkCmdSetCullMode(commands, VK_CULL_MODE_NONE);
    SetViewport(commands, kWidth, kHeight);
    DrawTriangle(commands, layout, {0, 0, 0.4f, 0.25f});  // near and small
    DrawTriangle(commands, layout, {0, 0, 1.0f, 0.75f});  // far and large
    vkCmdEndRendering(commands);
    ChangeLayout(commands, target, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
  });
  const Picture picture = Judge(target);
  EXPECT_GT(At(picture, 160, 88)[0], 180) << "the small triangle's red tip is hidden";
  ExpectTriangle(picture, 0);
}

// Vertex and index buffers, instances, and a draw whose parameters the GPU reads.
TEST_F(PictureTest, IndexedInstancesIndirect) {
  const float vertices[4][5] = {
      {-0.1f, -0.1f, 1, 1, 0}, {0.1f, -0.1f, 0, 1, 1}, {0.1f, 0.1f, 1, 0, 1}, {-0.1f, 0.1f, 1, 1, 1}};
  const uint16_t indices[] = {9, 0, 1, 2, 0, 2, 3};  // the first is skipped by firstIndex
  float offsets[16][2];
  for (int i = 0; i < 16; ++i) {
    offsets[i][0] = static_cast<float>(i % 4) * 0.45f - 0.675f;
    offsets[i][1] = static_cast<float>(i / 4) * 0.45f - 0.675f;
  }
  const VkDrawIndexedIndirectCommand draw = {6, 16, 1, 0, 0};
  const auto filled = [&](const void* data, size_t size, VkBufferUsageFlags usage) {
    Buffer buffer = MakeBuffer(gpu(), size, usage, Placement::kHost);
    std::memcpy(buffer.mapped, data, size);
    return buffer;
  };
  const Buffer vertex = filled(vertices, sizeof vertices, VK_BUFFER_USAGE_VERTEX_BUFFER_BIT);
  const Buffer instance = filled(offsets, sizeof offsets, VK_BUFFER_USAGE_VERTEX_BUFFER_BIT);
  const Buffer index = filled(indices, sizeof indices, VK_BUFFER_USAGE_INDEX_BUFFER_BIT);
  const Buffer indirect = filled(&draw, sizeof draw, VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT);

  const Image target = MakeTarget();
  const auto pass = OneSubpass();
  const auto framebuffer = MakeFramebuffer(pass, {target.view});
  const auto layout = MakePipelineLayout(gpu(), {});
  const VkVertexInputBindingDescription bindings[] = {{0, 20, VK_VERTEX_INPUT_RATE_VERTEX},
                                                      {1, 8, VK_VERTEX_INPUT_RATE_INSTANCE}};
  const VkVertexInputAttributeDescription attributes[] = {
      {0, 0, VK_FORMAT_R32G32_SFLOAT, 0}, {1, 0, VK_FORMAT_R32G32B32_SFLOAT, 8}, {2, 1, VK_FORMAT_R32G32_SFLOAT, 0}};
  GraphicsState state;
  state.vertex_input.vertexBindingDescriptionCount = 2;
  state.vertex_input.pVertexBindingDescriptions = bindings;
  state.vertex_input.vertexAttributeDescriptionCount = 3;
  state.vertex_input.pVertexAttributeDescriptions = attributes;
  state.info.layout = layout;
  state.info.renderPass = pass;
  const auto pipeline = state.Build(gpu(), mesh_vert, colour_frag);
  RunCommands(gpu(), [&](VkCommandBuffer commands) {
    BeginPass(commands, pass, framebuffer, {Grey(0)});
    vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
    SetViewport(commands, kWidth, kHeight);
    const VkBuffer buffers[] = {vertex.handle, instance.handle};
    const VkDeviceSize starts[] = {0, 0};
    vkCmdBindVertexBuffers(commands, 0, 2, buffers, starts);
    vkCmdBindIndexBuffer(commands, index.handle, 0, VK_INDEX_TYPE_UINT16);
    vkCmdDrawIndexedIndirect(commands, indirect.handle, 0, 1, sizeof draw);
    vkCmdEndRenderPass(commands);
  });
  const Picture picture = Judge(target);
  for (const auto& offset : offsets) {
    const auto x = static_cast<uint32_t>((offset[0] + 1) * 160);
    const auto y = static_cast<uint32_t>((offset[1] + 1) * 120);
    EXPECT_NE(At(picture, x, y), (std::array{0, 0, 0})) << x << ',' << y;
  }
}

// A texture uploaded from the host, drawn over the whole picture.
TEST_F(PictureTest, Texture) {
  const Image texture = MakeImage(gpu(), kFormat, 16, 16, VK_IMAGE_USAGE_SAMPLED_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT);
  std::vector<uint8_t> texels(16 * 16 * 4, 255);
  for (size_t i = 0; i < 256; ++i) {
    texels[i * 4] = static_cast<uint8_t>(i % 16 * 17);
    texels[i * 4 + 1] = static_cast<uint8_t>(i / 16 * 17);
    texels[i * 4 + 2] = (i / 16 + i % 16) % 2 == 0 ? 255 : 0;
  }
  WriteTexels(gpu(), texture, texels, VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL);
  const Image target = MakeTarget();
  const auto pass = OneSubpass();
  const auto framebuffer = MakeFramebuffer(pass, {target.view});
  const auto binding = Binding(0, VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER, VK_SHADER_STAGE_FRAGMENT_BIT);
  const auto set_layout = MakeSetLayout(gpu(), {&binding, 1});
  const auto layout = MakePipelineLayout(gpu(), {set_layout.address(), 1});
  const VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER, 1};
  const auto pool = MakeDescriptorPool(gpu(), 1, {&size, 1});
  const VkDescriptorSet set = AllocateSet(gpu(), pool, set_layout);
  const auto sampler = MakeSampler(gpu(), VK_FILTER_LINEAR);
  WriteImageDescriptor(gpu(), set, 0, binding.descriptorType, texture, sampler,
                       VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL);
  GraphicsState state;
  state.info.layout = layout;
  state.info.renderPass = pass;
  const auto pipeline = state.Build(gpu(), screen_vert, texture_frag);
  RunCommands(gpu(), [&](VkCommandBuffer commands) {
    BeginPass(commands, pass, framebuffer, {Grey(0)});
    vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
    vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, layout, 0, 1, &set, 0, nullptr);
    SetViewport(commands, kWidth, kHeight);
    vkCmdDraw(commands, 3, 1, 0, 0);
    vkCmdEndRenderPass(commands);
  });
  const Picture picture = Judge(target);
  EXPECT_EQ(At(picture, 0, 0), (std::array{0, 0, 255}));
  EXPECT_EQ(At(picture, 319, 0)[0], 255);
  EXPECT_EQ(At(picture, 0, 239)[1], 255);
}

// Two subpasses made with vkCreateRenderPass2: the second reads the first's colour as an input
// attachment.
TEST_F(PictureTest, InputAttachmentRenderPass2) {
  const Image first = MakeTarget(VK_IMAGE_USAGE_INPUT_ATTACHMENT_BIT);
  const Image target = MakeTarget();
  VkAttachmentDescription2 attachments[2] = {};
  for (auto& attachment : attachments) {
    attachment = {VK_STRUCTURE_TYPE_ATTACHMENT_DESCRIPTION_2};
    attachment.format = kFormat;
    attachment.samples = VK_SAMPLE_COUNT_1_BIT;
    attachment.loadOp = VK_ATTACHMENT_LOAD_OP_CLEAR;
    attachment.storeOp = VK_ATTACHMENT_STORE_OP_STORE;
    attachment.stencilLoadOp = VK_ATTACHMENT_LOAD_OP_DONT_CARE;
    attachment.stencilStoreOp = VK_ATTACHMENT_STORE_OP_DONT_CARE;
    attachment.finalLayout = VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL;
  }
  const auto reference = [](uint32_t attachment, VkImageLayout layout) {
    VkAttachmentReference2 made = {VK_STRUCTURE_TYPE_ATTACHMENT_REFERENCE_2};
    made.attachment = attachment;
    made.layout = layout;
    made.aspectMask = VK_IMAGE_ASPECT_COLOR_BIT;
    return made;
  };
  const auto drawn = reference(0, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL);
  const auto read = reference(0, VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL);
  const auto result = reference(1, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL);
  VkSubpassDescription2 subpasses[2] = {};
  for (auto& subpass : subpasses) {
    subpass = {VK_STRUCTURE_TYPE_SUBPASS_DESCRIPTION_2};
    subpass.colorAttachmentCount = 1;
  }
  subpasses[0].pColorAttachments = &drawn;
  subpasses[1].pColorAttachments = &result;
  subpasses[1].inputAttachmentCount = 1;
  subpasses[1].pInputAttachments = &read;
  VkSubpassDependency2 dependency = {VK_STRUCTURE_TYPE_SUBPASS_DEPENDENCY_2};
  dependency.dstSubpass = 1;
  dependency.srcStageMask = VK_PIPELINE_STAGE_COLOR_ATTACHMENT_OUTPUT_BIT;
  dependency.dstStageMask = VK_PIPELINE_STAGE_FRAGMENT_SHADER_BIT;
  dependency.srcAccessMask = VK_ACCESS_COLOR_ATTACHMENT_WRITE_BIT;
  dependency.dstAccessMask = VK_ACCESS_INPUT_ATTACHMENT_READ_BIT;
  dependency.dependencyFlags = VK_DEPENDENCY_BY_REGION_BIT;
  VkRenderPassCreateInfo2 info = {VK_STRUCTURE_TYPE_RENDER_PASS_CREATE_INFO_2};
  info.attachmentCount = 2;
  info.pAttachments = attachments;
  info.subpassCount = 2;
  info.pSubpasses = subpasses;
  info.dependencyCount = 1;
  info.pDependencies = &dependency;
  const auto pass = Create<VkRenderPass>(device(), vkCreateRenderPass2, vkDestroyRenderPass, info);
  const auto framebuffer = MakeFramebuffer(pass, {first.view, target.view});

  const auto layout = TriangleLayout();
  GraphicsState draw;
  draw.info.layout = layout;
  draw.info.renderPass = pass;
  const auto draw_pipeline = draw.Build(gpu(), triangle_vert, colour_frag);
  const auto binding = Binding(0, VK_DESCRIPTOR_TYPE_INPUT_ATTACHMENT, VK_SHADER_STAGE_FRAGMENT_BIT);
  const auto set_layout = MakeSetLayout(gpu(), {&binding, 1});
  const auto swap_layout = MakePipelineLayout(gpu(), {set_layout.address(), 1});
  const VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_INPUT_ATTACHMENT, 1};
  const auto pool = MakeDescriptorPool(gpu(), 1, {&size, 1});
  const VkDescriptorSet set = AllocateSet(gpu(), pool, set_layout);
  WriteImageDescriptor(gpu(), set, 0, binding.descriptorType, first, VK_NULL_HANDLE,
                       VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL);
  GraphicsState swap;
  swap.info.layout = swap_layout;
  swap.info.renderPass = pass;
  swap.info.subpass = 1;
  const auto swap_pipeline = swap.Build(gpu(), screen_vert, second_pass_frag);
  RunCommands(gpu(), [&](VkCommandBuffer commands) {
    VkClearValue clears[] = {Grey(0.2f), Grey(0)};
    VkRenderPassBeginInfo begin = {VK_STRUCTURE_TYPE_RENDER_PASS_BEGIN_INFO};
    begin.renderPass = pass;
    begin.framebuffer = framebuffer;
    begin.renderArea.extent = {kWidth, kHeight};
    begin.clearValueCount = 2;
    begin.pClearValues = clears;
    VkSubpassBeginInfo subpass = {VK_STRUCTURE_TYPE_SUBPASS_BEGIN_INFO};
    VkSubpassEndInfo end = {VK_STRUCTURE_TYPE_SUBPASS_END_INFO};
    vkCmdBeginRenderPass2(commands, &begin, &subpass);
    vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, draw_pipeline);
    SetViewport(commands, kWidth, kHeight);
    DrawTriangle(commands, layout, {0, 0, 1, 0.5f});
    vkCmdNextSubpass2(commands, &subpass, &end);
    vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, swap_pipeline);
    vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, swap_layout, 0, 1, &set, 0, nullptr);
    vkCmdDraw(commands, 3, 1, 0, 0);
    vkCmdEndRenderPass2(commands, &end);
  });
  const Picture picture = Judge(target);
  EXPECT_GT(At(picture, 160, 40)[1], 180) << "red became green";
  EXPECT_GT(At(picture, 50, 210)[0], 180) << "blue became red";
}

}  // namespace
}  // namespace vesper::test
