// Pipelines as objects: caches saved and loaded, many made in one call, libraries linked,
// statistics and feedback asked.
#include <algorithm>
#include <cstring>

#include "shaders/colour_frag.h"
#include "shaders/increment_comp.h"
#include "shaders/mix_comp.h"
#include "shaders/triangle_vert.h"
#include "tests/integration/gpu_test.h"

namespace vesper::test {
namespace {

class PipelineTest : public GpuTest {
 protected:
  std::vector<uint8_t> CacheData(VkPipelineCache cache) {
    size_t size = 0;
    VK_CHECK(vkGetPipelineCacheData(device(), cache, &size, nullptr));
    std::vector<uint8_t> data(size);
    VK_CHECK(vkGetPipelineCacheData(device(), cache, &size, data.data()));
    data.resize(size);
    return data;
  }
  Owned<VkPipelineCache> MakeCache(const std::vector<uint8_t>& data) {
    VkPipelineCacheCreateInfo info = {VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
    info.initialDataSize = data.size();
    info.pInitialData = data.data();
    return Create<VkPipelineCache>(device(), vkCreatePipelineCache, vkDestroyPipelineCache, info);
  }
};

TEST_F(PipelineTest, CacheSavedAndLoaded) {
  const auto set_layout =
      MakeSetLayout(gpu(), std::array{Binding(0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, VK_SHADER_STAGE_COMPUTE_BIT)});
  const auto layout = MakePipelineLayout(gpu(), {set_layout.address(), 1});
  const auto cache = MakeCache({});
  { const auto pipeline = MakeComputePipeline(gpu(), layout, increment_comp, nullptr, cache); }
  const std::vector<uint8_t> saved = CacheData(cache);
  ASSERT_GE(saved.size(), sizeof(VkPipelineCacheHeaderVersionOne));
  VkPipelineCacheHeaderVersionOne header;
  std::memcpy(&header, saved.data(), sizeof header);
  EXPECT_EQ(header.headerVersion, VK_PIPELINE_CACHE_HEADER_VERSION_ONE);
  EXPECT_EQ(header.vendorID, gpu().properties().vendorID);
  EXPECT_EQ(header.deviceID, gpu().properties().deviceID);
  EXPECT_EQ(std::memcmp(header.pipelineCacheUUID, gpu().properties().pipelineCacheUUID, 16), 0);

  const auto loaded = MakeCache(saved);
  const auto other = MakeCache({});
  VK_CHECK(vkMergePipelineCaches(device(), other, 1, loaded.address()));
  const auto pipeline = MakeComputePipeline(gpu(), layout, increment_comp, nullptr, other);
  EXPECT_NE(pipeline.get(), VK_NULL_HANDLE);
}

// Too little room: VK_INCOMPLETE, and nothing beyond what was said to be there is written.
TEST_F(PipelineTest, CacheDataIncomplete) {
  const auto cache = MakeCache({});
  const size_t whole = CacheData(cache).size();
  std::vector<uint8_t> data(whole + 16, 0xcd);
  size_t size = sizeof(VkPipelineCacheHeaderVersionOne) - 1;
  EXPECT_EQ(vkGetPipelineCacheData(device(), cache, &size, data.data()), VK_INCOMPLETE);
  EXPECT_LT(size, sizeof(VkPipelineCacheHeaderVersionOne));
  for (size_t i = sizeof(VkPipelineCacheHeaderVersionOne) - 1; i < data.size(); ++i) {
    ASSERT_EQ(data[i], 0xcd) << i;
  }
}

TEST_F(PipelineTest, ManyPipelinesInOneCall) {
  const auto set_layout =
      MakeSetLayout(gpu(), std::array{Binding(0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, VK_SHADER_STAGE_COMPUTE_BIT),
                                      Binding(1, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, VK_SHADER_STAGE_COMPUTE_BIT)});
  const VkPushConstantRange range = {VK_SHADER_STAGE_COMPUTE_BIT, 0, 8};
  const auto layout = MakePipelineLayout(gpu(), {set_layout.address(), 1}, {&range, 1});
  const auto shader = MakeShader(gpu(), mix_comp);
  constexpr uint32_t kCount = 16;
  const std::vector<uint32_t> scales = Counting(kCount, 5);
  const VkSpecializationMapEntry entry = {0, 0, 4};
  std::vector<VkSpecializationInfo> constants(kCount);
  std::vector<VkComputePipelineCreateInfo> infos(kCount);
  std::vector<VkPipelineCreationFeedback> feedback(kCount);
  std::vector<VkPipelineCreationFeedbackCreateInfo> chains(kCount);
  for (uint32_t i = 0; i < kCount; ++i) {
    constants[i] = {1, &entry, 4, &scales[i]};
    chains[i] = {VK_STRUCTURE_TYPE_PIPELINE_CREATION_FEEDBACK_CREATE_INFO};
    chains[i].pPipelineCreationFeedback = &feedback[i];
    infos[i] = {VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO};
    infos[i].pNext = &chains[i];
    infos[i].stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
    infos[i].stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
    infos[i].stage.module = shader;
    infos[i].stage.pName = "main";
    infos[i].stage.pSpecializationInfo = &constants[i];
    infos[i].layout = layout;
    infos[i].basePipelineIndex = -1;
  }
  std::vector<VkPipeline> pipelines(kCount);
  VK_CHECK(vkCreateComputePipelines(device(), VK_NULL_HANDLE, kCount, infos.data(), nullptr, pipelines.data()));
  for (uint32_t i = 0; i < kCount; ++i) {
    EXPECT_NE(pipelines[i], VK_NULL_HANDLE);
    for (uint32_t j = 0; j < i; ++j) EXPECT_NE(pipelines[i], pipelines[j]);
    // Outputs inside an input chain come back.
    EXPECT_NE(feedback[i].flags & VK_PIPELINE_CREATION_FEEDBACK_VALID_BIT, 0u) << i;
    vkDestroyPipeline(device(), pipelines[i], nullptr);
  }
}

// A call that must not compile either finds the pipeline or says so; the failed one is a null
// handle.
TEST_F(PipelineTest, FailOnCompileRequired) {
  if (gpu().features().v13.pipelineCreationCacheControl == VK_FALSE) GTEST_SKIP() << "not offered";
  const auto set_layout =
      MakeSetLayout(gpu(), std::array{Binding(0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, VK_SHADER_STAGE_COMPUTE_BIT)});
  const auto layout = MakePipelineLayout(gpu(), {set_layout.address(), 1});
  const auto shader = MakeShader(gpu(), increment_comp);
  VkComputePipelineCreateInfo info = {VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO};
  info.flags = VK_PIPELINE_CREATE_FAIL_ON_PIPELINE_COMPILE_REQUIRED_BIT;
  info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
  info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
  info.stage.module = shader;
  info.stage.pName = "main";
  info.layout = layout;
  VkPipeline pipeline = VK_NULL_HANDLE;
  const VkResult result = vkCreateComputePipelines(device(), VK_NULL_HANDLE, 1, &info, nullptr, &pipeline);
  if (result == VK_SUCCESS) {
    EXPECT_NE(pipeline, VK_NULL_HANDLE);
  } else {
    EXPECT_EQ(result, VK_PIPELINE_COMPILE_REQUIRED);
    EXPECT_EQ(pipeline, VK_NULL_HANDLE);
  }
  vkDestroyPipeline(device(), pipeline, nullptr);
}

// The four parts of a graphics pipeline made apart and linked; the linked one draws.
class PipelineLibraryTest : public PipelineTest {
 protected:
  Owned<VkPipeline> Part(VkGraphicsPipelineLibraryFlagsEXT part, VkPipelineLayout layout, Spirv code,
                         VkShaderStageFlagBits stage) {
    GraphicsState state;
    VkPipelineRenderingCreateInfo rendering = {VK_STRUCTURE_TYPE_PIPELINE_RENDERING_CREATE_INFO};
    const VkFormat format = VK_FORMAT_R8G8B8A8_UNORM;
    if (part == VK_GRAPHICS_PIPELINE_LIBRARY_FRAGMENT_OUTPUT_INTERFACE_BIT_EXT) {
      rendering.colorAttachmentCount = 1;
      rendering.pColorAttachmentFormats = &format;
    }
    VkGraphicsPipelineLibraryCreateInfoEXT library = {VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_LIBRARY_CREATE_INFO_EXT};
    library.pNext = &rendering;
    library.flags = part;
    state.info.pNext = &library;
    state.info.flags = VK_PIPELINE_CREATE_LIBRARY_BIT_KHR;
    state.info.layout = layout;
    const Owned<VkShaderModule> shader = code.empty() ? Owned<VkShaderModule>() : MakeShader(gpu(), code);
    VkPipelineShaderStageCreateInfo info = {VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO};
    info.stage = stage;
    info.module = shader;
    info.pName = "main";
    state.info.stageCount = code.empty() ? 0 : 1;
    state.info.pStages = &info;
    state.dynamic.dynamicStateCount = 2;
    state.dynamic.pDynamicStates = state.dynamic_states.data();
    VkPipeline pipeline = VK_NULL_HANDLE;
    VK_CHECK(vkCreateGraphicsPipelines(device(), VK_NULL_HANDLE, 1, &state.info, nullptr, &pipeline));
    return {device(), pipeline, vkDestroyPipeline};
  }
};

TEST_F(PipelineLibraryTest, LinkedFromFourParts) {
  VkPhysicalDeviceGraphicsPipelineLibraryFeaturesEXT features = {
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_GRAPHICS_PIPELINE_LIBRARY_FEATURES_EXT};
  features.graphicsPipelineLibrary = VK_TRUE;
  if (!OpenWith({VK_KHR_PIPELINE_LIBRARY_EXTENSION_NAME, VK_EXT_GRAPHICS_PIPELINE_LIBRARY_EXTENSION_NAME}, &features)) {
    GTEST_SKIP() << "no pipeline libraries";
  }
  const VkPushConstantRange range = {VK_SHADER_STAGE_VERTEX_BIT, 0, 16};
  const auto layout = MakePipelineLayout(gpu(), {}, {&range, 1});
  const Owned<VkPipeline> parts[] = {
      Part(VK_GRAPHICS_PIPELINE_LIBRARY_VERTEX_INPUT_INTERFACE_BIT_EXT, layout, {}, VK_SHADER_STAGE_VERTEX_BIT),
      Part(VK_GRAPHICS_PIPELINE_LIBRARY_PRE_RASTERIZATION_SHADERS_BIT_EXT, layout, triangle_vert,
           VK_SHADER_STAGE_VERTEX_BIT),
      Part(VK_GRAPHICS_PIPELINE_LIBRARY_FRAGMENT_SHADER_BIT_EXT, layout, colour_frag, VK_SHADER_STAGE_FRAGMENT_BIT),
      Part(VK_GRAPHICS_PIPELINE_LIBRARY_FRAGMENT_OUTPUT_INTERFACE_BIT_EXT, layout, {}, VK_SHADER_STAGE_FRAGMENT_BIT)};
  const VkPipeline libraries[] = {parts[0], parts[1], parts[2], parts[3]};
  VkPipelineLibraryCreateInfoKHR link = {VK_STRUCTURE_TYPE_PIPELINE_LIBRARY_CREATE_INFO_KHR};
  link.libraryCount = 4;
  link.pLibraries = libraries;
  // Everything else of the create-info is ignored, as a valid program may leave it: not even
  // pointers are set.
  VkGraphicsPipelineCreateInfo info = {VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_CREATE_INFO};
  info.pNext = &link;
  info.layout = layout;
  info.basePipelineIndex = -1;
  VkPipeline handle = VK_NULL_HANDLE;
  VK_CHECK(vkCreateGraphicsPipelines(device(), VK_NULL_HANDLE, 1, &info, nullptr, &handle));
  const Owned<VkPipeline> pipeline(device(), handle, vkDestroyPipeline);

  const Image image = MakeImage(gpu(), VK_FORMAT_R8G8B8A8_UNORM, 16, 16,
                                VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT | VK_IMAGE_USAGE_TRANSFER_SRC_BIT);
  RunCommands(gpu(), [&](VkCommandBuffer commands) {
    ChangeLayout(commands, image, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL);
    VkRenderingAttachmentInfo attachment = {VK_STRUCTURE_TYPE_RENDERING_ATTACHMENT_INFO};
    attachment.imageView = image.view;
    attachment.imageLayout = VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL;
    attachment.loadOp = VK_ATTACHMENT_LOAD_OP_CLEAR;
    attachment.storeOp = VK_ATTACHMENT_STORE_OP_STORE;
    VkRenderingInfo rendering = {VK_STRUCTURE_TYPE_RENDERING_INFO};
    rendering.renderArea.extent = {16, 16};
    rendering.layerCount = 1;
    rendering.colorAttachmentCount = 1;
    rendering.pColorAttachments = &attachment;
    vkCmdBeginRendering(commands, &rendering);
    vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
    SetViewport(commands, 16, 16);
    const float push[] = {0.0f, 0.0f, 8.0f, 0.5f};  // larger than the picture
    vkCmdPushConstants(commands, layout, VK_SHADER_STAGE_VERTEX_BIT, 0, sizeof push, push);
    vkCmdDraw(commands, 3, 1, 0, 0);
    vkCmdEndRendering(commands);
    ChangeLayout(commands, image, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
  });
  const std::vector<uint8_t> texels = ReadTexels(gpu(), image, 4);
  for (size_t i = 0; i < 256; ++i) ASSERT_EQ(texels[i * 4 + 3], 255) << i;
}

}  // namespace
}  // namespace vesper::test
