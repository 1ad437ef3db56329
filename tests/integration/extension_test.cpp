// Extensions that lavapipe of Debian 12 lacks and current drivers have, executed and compared with what the CPU says: shader objects,
// descriptor buffers, maintenance 5 to 9, mesh shaders. A device without one skips its test.
#include <algorithm>
#include <cstring>

#include "shaders/colour_frag.h"
#include "shaders/half_mesh.h"
#include "shaders/increment_comp.h"
#include "shaders/mix_comp.h"
#include "tests/integration/gpu_test.h"

namespace vesper::test {
namespace {

constexpr uint32_t kCount = 1000;
constexpr VkBufferUsageFlags kStorage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT;

class ExtensionTest : public GpuTest {
 protected:
  void ExpectCounted(const Buffer& data, uint32_t more) {
    for (uint32_t i = 0; i < kCount; ++i) ASSERT_EQ(data.As<uint32_t>()[i], i + more) << i;
  }
  VkDeviceAddress AddressOf(const Buffer& buffer) {
    VkBufferDeviceAddressInfo info = {VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO};
    info.buffer = buffer.handle;
    return vkGetBufferDeviceAddress(device(), &info);
  }
};

#ifdef VK_EXT_shader_object
TEST_F(ExtensionTest, AShaderObjectComputes) {
  VkPhysicalDeviceShaderObjectFeaturesEXT features = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_OBJECT_FEATURES_EXT};
  features.shaderObject = VK_TRUE;
  if (!OpenWith({VK_EXT_SHADER_OBJECT_EXTENSION_NAME}, &features)) GTEST_SKIP() << "no shader objects";
  const Buffer data = MakeBuffer(gpu(), kCount * 4, kStorage, Placement::kHost);
  std::ranges::copy(Counting(kCount), data.As<uint32_t>().begin());
  const Buffer* buffers[] = {&data};
  const Kernel kernel = MakeKernel(gpu(), increment_comp, buffers);  // for its set and layouts

  VkShaderCreateInfoEXT info = {VK_STRUCTURE_TYPE_SHADER_CREATE_INFO_EXT};
  info.stage = VK_SHADER_STAGE_COMPUTE_BIT;
  info.codeType = VK_SHADER_CODE_TYPE_SPIRV_EXT;
  info.codeSize = sizeof increment_comp;
  info.pCode = increment_comp;
  info.pName = "main";
  info.setLayoutCount = 1;
  info.pSetLayouts = kernel.set_layout.address();
  const auto create = gpu().DeviceFunction<PFN_vkCreateShadersEXT>("vkCreateShadersEXT");
  const auto binary_of = gpu().DeviceFunction<PFN_vkGetShaderBinaryDataEXT>("vkGetShaderBinaryDataEXT");
  const auto destroy = gpu().DeviceFunction<PFN_vkDestroyShaderEXT>("vkDestroyShaderEXT");
  const auto bind = gpu().DeviceFunction<PFN_vkCmdBindShadersEXT>("vkCmdBindShadersEXT");
  VkShaderEXT shader = VK_NULL_HANDLE;
  VK_CHECK(create(device(), 1, &info, nullptr, &shader));
  const Owned<VkShaderEXT> from_spirv(device(), shader, destroy);

  size_t size = 0;
  VK_CHECK(binary_of(device(), shader, &size, nullptr));
  std::vector<uint8_t> binary(size + 64);
  void* aligned = binary.data() + (64 - reinterpret_cast<uintptr_t>(binary.data()) % 64) % 64;
  VK_CHECK(binary_of(device(), shader, &size, aligned));
  info.codeType = VK_SHADER_CODE_TYPE_BINARY_EXT;
  info.codeSize = size;
  info.pCode = aligned;
  VkShaderEXT again = VK_NULL_HANDLE;
  VK_CHECK(create(device(), 1, &info, nullptr, &again));
  const Owned<VkShaderEXT> from_binary(device(), again, destroy);

  for (uint32_t more = 1; more <= 2; ++more) {
    RunCommands(gpu(), [&](VkCommandBuffer commands) {
      const VkShaderStageFlagBits stage = VK_SHADER_STAGE_COMPUTE_BIT;
      bind(commands, 1, &stage, more == 1 ? &shader : &again);
      vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, kernel.layout, 0, 1, &kernel.set, 0, nullptr);
      vkCmdDispatch(commands, (kCount + 63) / 64, 1, 1);
    });
    ExpectCounted(data, more);
  }
}
#endif

TEST_F(ExtensionTest, ADescriptorBufferNamesWhatIsComputed) {
  VkPhysicalDeviceDescriptorBufferFeaturesEXT features = {
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DESCRIPTOR_BUFFER_FEATURES_EXT};
  features.descriptorBuffer = VK_TRUE;
  if (!OpenWith({VK_EXT_DESCRIPTOR_BUFFER_EXTENSION_NAME}, &features)) GTEST_SKIP() << "no descriptor buffers";
  VkPhysicalDeviceDescriptorBufferPropertiesEXT limits = {
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DESCRIPTOR_BUFFER_PROPERTIES_EXT};
  VkPhysicalDeviceProperties2 properties = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, &limits, {}};
  vkGetPhysicalDeviceProperties2(gpu().physical_device(), &properties);

  const Buffer data =
      MakeBuffer(gpu(), kCount * 4, kStorage | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT, Placement::kHost);
  std::ranges::copy(Counting(kCount), data.As<uint32_t>().begin());
  const auto binding = Binding(0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, VK_SHADER_STAGE_COMPUTE_BIT);
  const auto set = MakeSetLayout(gpu(), {&binding, 1}, VK_DESCRIPTOR_SET_LAYOUT_CREATE_DESCRIPTOR_BUFFER_BIT_EXT);
  const auto layout = MakePipelineLayout(gpu(), {set.address(), 1});
  const auto module = MakeShader(gpu(), increment_comp);
  VkComputePipelineCreateInfo info = {VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO};
  info.flags = VK_PIPELINE_CREATE_DESCRIPTOR_BUFFER_BIT_EXT;
  info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
  info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
  info.stage.module = module;
  info.stage.pName = "main";
  info.layout = layout;
  VkPipeline made = VK_NULL_HANDLE;
  VK_CHECK(vkCreateComputePipelines(device(), VK_NULL_HANDLE, 1, &info, nullptr, &made));
  const Owned<VkPipeline> pipeline(device(), made, vkDestroyPipeline);

  VkDeviceSize size = 0, offset = 0;
  gpu().DeviceFunction<PFN_vkGetDescriptorSetLayoutSizeEXT>("vkGetDescriptorSetLayoutSizeEXT")(device(), set, &size);
  gpu().DeviceFunction<PFN_vkGetDescriptorSetLayoutBindingOffsetEXT>("vkGetDescriptorSetLayoutBindingOffsetEXT")(
      device(), set, 0, &offset);
  const Buffer descriptors = MakeBuffer(
      gpu(), size + 256, VK_BUFFER_USAGE_RESOURCE_DESCRIPTOR_BUFFER_BIT_EXT | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT,
      Placement::kHost);
  VkDescriptorAddressInfoEXT address = {VK_STRUCTURE_TYPE_DESCRIPTOR_ADDRESS_INFO_EXT};
  address.address = AddressOf(data);
  address.range = data.size;
  VkDescriptorGetInfoEXT get = {VK_STRUCTURE_TYPE_DESCRIPTOR_GET_INFO_EXT};
  get.type = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
  get.data.pStorageBuffer = &address;
  gpu().DeviceFunction<PFN_vkGetDescriptorEXT>("vkGetDescriptorEXT")(device(), &get, limits.storageBufferDescriptorSize,
                                                                     descriptors.As<uint8_t>().data() + offset);

  const auto bind = gpu().DeviceFunction<PFN_vkCmdBindDescriptorBuffersEXT>("vkCmdBindDescriptorBuffersEXT");
  const auto choose =
      gpu().DeviceFunction<PFN_vkCmdSetDescriptorBufferOffsetsEXT>("vkCmdSetDescriptorBufferOffsetsEXT");
  RunCommands(gpu(), [&](VkCommandBuffer commands) {
    VkDescriptorBufferBindingInfoEXT where = {VK_STRUCTURE_TYPE_DESCRIPTOR_BUFFER_BINDING_INFO_EXT};
    where.address = AddressOf(descriptors);
    where.usage = VK_BUFFER_USAGE_RESOURCE_DESCRIPTOR_BUFFER_BIT_EXT | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT;
    const uint32_t index = 0;
    const VkDeviceSize start = 0;
    vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    bind(commands, 1, &where);
    choose(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout, 0, 1, &index, &start);
    vkCmdDispatch(commands, (kCount + 63) / 64, 1, 1);
  });
  ExpectCounted(data, 1);
}

#if defined(VK_KHR_maintenance5) && defined(VK_KHR_maintenance6)
// A pipeline without a module, with flags of 64 bits; sets and constants bound by the commands of maintenance 6.
TEST_F(ExtensionTest, MaintenanceFiveAndSixCompute) {
  VkPhysicalDeviceMaintenance6FeaturesKHR six = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_6_FEATURES_KHR};
  VkPhysicalDeviceMaintenance5FeaturesKHR five = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_5_FEATURES_KHR};
  five.pNext = &six;
  five.maintenance5 = six.maintenance6 = VK_TRUE;
  if (!OpenWith({VK_KHR_MAINTENANCE_5_EXTENSION_NAME, VK_KHR_MAINTENANCE_6_EXTENSION_NAME}, &five)) {
    GTEST_SKIP() << "no maintenance 5 and 6";
  }
  struct Push {
    uint32_t bias, count;
  } push = {77, kCount};
  const Buffer source = MakeBuffer(gpu(), kCount * 4, kStorage, Placement::kHost);
  const Buffer target = MakeBuffer(gpu(), kCount * 4, kStorage, Placement::kHost);
  std::ranges::copy(Counting(kCount, 2246822519u), source.As<uint32_t>().begin());
  const uint32_t scale = 9;
  const VkSpecializationMapEntry entry = {0, 0, 4};
  const VkSpecializationInfo constants = {1, &entry, 4, &scale};
  const Buffer* buffers[] = {&source, &target};
  const Kernel kernel = MakeKernel(gpu(), mix_comp, buffers, sizeof push, &constants);

  VkShaderModuleCreateInfo code = {VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO};
  code.codeSize = sizeof mix_comp;
  code.pCode = mix_comp;
  VkPipelineCreateFlags2CreateInfoKHR flags = {VK_STRUCTURE_TYPE_PIPELINE_CREATE_FLAGS_2_CREATE_INFO_KHR};
  flags.flags = VK_PIPELINE_CREATE_2_DISABLE_OPTIMIZATION_BIT_KHR;
  VkComputePipelineCreateInfo info = {VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO};
  info.pNext = &flags;
  info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
  info.stage.pNext = &code;
  info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
  info.stage.pName = "main";
  info.stage.pSpecializationInfo = &constants;
  info.layout = kernel.layout;
  VkPipeline made = VK_NULL_HANDLE;
  VK_CHECK(vkCreateComputePipelines(device(), VK_NULL_HANDLE, 1, &info, nullptr, &made));
  const Owned<VkPipeline> pipeline(device(), made, vkDestroyPipeline);

  const auto bind = gpu().DeviceFunction<PFN_vkCmdBindDescriptorSets2KHR>("vkCmdBindDescriptorSets2KHR");
  const auto constant = gpu().DeviceFunction<PFN_vkCmdPushConstants2KHR>("vkCmdPushConstants2KHR");
  RunCommands(gpu(), [&](VkCommandBuffer commands) {
    vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    VkBindDescriptorSetsInfoKHR sets = {VK_STRUCTURE_TYPE_BIND_DESCRIPTOR_SETS_INFO_KHR};
    sets.stageFlags = VK_SHADER_STAGE_COMPUTE_BIT;
    sets.layout = kernel.layout;
    sets.descriptorSetCount = 1;
    sets.pDescriptorSets = &kernel.set;
    bind(commands, &sets);
    VkPushConstantsInfoKHR values = {VK_STRUCTURE_TYPE_PUSH_CONSTANTS_INFO_KHR};
    values.layout = kernel.layout;
    values.stageFlags = VK_SHADER_STAGE_COMPUTE_BIT;
    values.size = sizeof push;
    values.pValues = &push;
    constant(commands, &values);
    vkCmdDispatch(commands, (kCount + 63) / 64, 1, 1);
  });
  for (uint32_t i = 0; i < kCount; ++i) {
    const uint32_t value = source.As<uint32_t>()[i];
    ASSERT_EQ(target.As<uint32_t>()[i], value * value * scale + 77 + i) << i;
  }
}
#endif

#ifdef VK_KHR_maintenance7
// Maintenance 7 lets one rendering have commands of its own and of secondary command buffers.
TEST_F(ExtensionTest, MaintenanceSevenRendersInlineAndBySecondaries) {
  VkPhysicalDeviceMaintenance7FeaturesKHR features = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_7_FEATURES_KHR};
  features.maintenance7 = VK_TRUE;
  if (!OpenWith({VK_KHR_MAINTENANCE_7_EXTENSION_NAME}, &features)) GTEST_SKIP() << "no maintenance 7";
  VkPhysicalDeviceLayeredApiPropertiesListKHR layered = {
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_LAYERED_API_PROPERTIES_LIST_KHR};
  VkPhysicalDeviceMaintenance7PropertiesKHR limits = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_7_PROPERTIES_KHR,
                                                      &layered};
  VkPhysicalDeviceProperties2 properties = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, &limits, {}};
  vkGetPhysicalDeviceProperties2(gpu().physical_device(), &properties);
  EXPECT_GE(limits.maxDescriptorSetTotalBuffersDynamic, limits.maxDescriptorSetTotalUniformBuffersDynamic);
  EXPECT_GE(limits.maxDescriptorSetTotalUniformBuffersDynamic, 8u);
  std::vector<VkPhysicalDeviceLayeredApiPropertiesKHR> apis(
      layered.layeredApiCount, {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_LAYERED_API_PROPERTIES_KHR});
  layered.pLayeredApis = apis.data();
  vkGetPhysicalDeviceProperties2(gpu().physical_device(), &properties);
  for (const VkPhysicalDeviceLayeredApiPropertiesKHR& api : apis) EXPECT_NE(api.deviceName[0], 0);

  constexpr uint32_t kSide = 16;
  const Image image = MakeImage(gpu(), VK_FORMAT_R8G8B8A8_UNORM, kSide, kSide,
                                VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT | VK_IMAGE_USAGE_TRANSFER_SRC_BIT);
  const auto clear = [&](VkCommandBuffer commands, int32_t x, float green) {
    const VkClearAttachment colour = {VK_IMAGE_ASPECT_COLOR_BIT, 0, {.color = {{0, green, 1, 1}}}};
    const VkClearRect half = {{{x, 0}, {kSide / 2, kSide}}, 0, 1};
    vkCmdClearAttachments(commands, 1, &colour, 1, &half);
  };
  const auto pool = MakeCommandPool(gpu());
  const VkCommandBuffer secondary = AllocateCommands(gpu(), pool, VK_COMMAND_BUFFER_LEVEL_SECONDARY);
  VkCommandBufferInheritanceRenderingInfo formats = {VK_STRUCTURE_TYPE_COMMAND_BUFFER_INHERITANCE_RENDERING_INFO};
  formats.flags = VK_RENDERING_CONTENTS_SECONDARY_COMMAND_BUFFERS_BIT | VK_RENDERING_CONTENTS_INLINE_BIT_KHR;
  formats.colorAttachmentCount = 1;
  formats.pColorAttachmentFormats = &image.format;
  formats.rasterizationSamples = VK_SAMPLE_COUNT_1_BIT;
  VkCommandBufferInheritanceInfo inherited = {VK_STRUCTURE_TYPE_COMMAND_BUFFER_INHERITANCE_INFO, &formats};
  VkCommandBufferBeginInfo begin = {VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
  begin.flags = VK_COMMAND_BUFFER_USAGE_RENDER_PASS_CONTINUE_BIT;
  begin.pInheritanceInfo = &inherited;
  VK_CHECK(vkBeginCommandBuffer(secondary, &begin));
  clear(secondary, kSide / 2, 1);
  VK_CHECK(vkEndCommandBuffer(secondary));

  RunCommands(gpu(), [&](VkCommandBuffer commands) {
    ChangeLayout(commands, image, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL);
    VkRenderingAttachmentInfo colour = {VK_STRUCTURE_TYPE_RENDERING_ATTACHMENT_INFO};
    colour.imageView = image.view;
    colour.imageLayout = VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL;
    colour.loadOp = VK_ATTACHMENT_LOAD_OP_CLEAR;
    colour.storeOp = VK_ATTACHMENT_STORE_OP_STORE;
    colour.clearValue.color = {{1, 0, 0, 1}};
    VkRenderingInfo rendering = {VK_STRUCTURE_TYPE_RENDERING_INFO};
    rendering.flags = formats.flags;
    rendering.renderArea.extent = {kSide, kSide};
    rendering.layerCount = 1;
    rendering.colorAttachmentCount = 1;
    rendering.pColorAttachments = &colour;
    vkCmdBeginRendering(commands, &rendering);
    clear(commands, 0, 0);
    vkCmdExecuteCommands(commands, 1, &secondary);
    vkCmdEndRendering(commands);
    ChangeLayout(commands, image, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
  });
  const std::vector<uint8_t> texels = ReadTexels(gpu(), image, 4);
  for (uint32_t i = 0; i < kSide * kSide; ++i) {
    const std::vector<uint8_t> wanted = {0, static_cast<uint8_t>(i % kSide < kSide / 2 ? 0 : 255), 255, 255};
    ASSERT_TRUE(std::equal(wanted.begin(), wanted.end(), texels.begin() + i * 4)) << i;
  }
}
#endif

#ifdef VK_KHR_maintenance8
// Maintenance 8 lets a copy go from a colour to a depth image.
TEST_F(ExtensionTest, MaintenanceEightCopiesColourToDepth) {
  VkPhysicalDeviceMaintenance8FeaturesKHR features = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_8_FEATURES_KHR};
  features.maintenance8 = VK_TRUE;
  if (!OpenWith({VK_KHR_MAINTENANCE_8_EXTENSION_NAME}, &features)) GTEST_SKIP() << "no maintenance 8";
  constexpr uint32_t kSide = 8;
  constexpr VkImageUsageFlags kCopied = VK_IMAGE_USAGE_TRANSFER_SRC_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT;
  const Image colour = MakeImage(gpu(), VK_FORMAT_R32_SFLOAT, kSide, kSide, kCopied | VK_IMAGE_USAGE_SAMPLED_BIT);
  const Image depth = MakeImage(gpu(), VK_FORMAT_D32_SFLOAT, kSide, kSide,
                                kCopied | VK_IMAGE_USAGE_DEPTH_STENCIL_ATTACHMENT_BIT, VK_IMAGE_ASPECT_DEPTH_BIT);
  std::vector<float> values(kSide * kSide);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) / 64;
  std::vector<uint8_t> texels(values.size() * 4);
  std::memcpy(texels.data(), values.data(), texels.size());
  WriteTexels(gpu(), colour, texels, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
  RunCommands(gpu(), [&](VkCommandBuffer commands) {
    ChangeLayout(commands, depth, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
    VkImageCopy copy = {};
    copy.srcSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1};
    copy.dstSubresource = {VK_IMAGE_ASPECT_DEPTH_BIT, 0, 0, 1};
    copy.extent = depth.extent;
    vkCmdCopyImage(commands, colour.handle, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, depth.handle,
                   VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, 1, &copy);
    ChangeLayout(commands, depth, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
  });
  EXPECT_EQ(ReadTexels(gpu(), depth, 4), texels);
}
#endif

#ifdef VK_KHR_maintenance9
// Maintenance 9 makes query pools whose queries need no reset.
TEST_F(ExtensionTest, MaintenanceNineCountsWithoutAReset) {
  VkPhysicalDeviceMaintenance9FeaturesKHR features = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_9_FEATURES_KHR};
  features.maintenance9 = VK_TRUE;
  if (!OpenWith({VK_KHR_MAINTENANCE_9_EXTENSION_NAME}, &features)) GTEST_SKIP() << "no maintenance 9";
  VkQueryPoolCreateInfo info = {VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO};
  info.flags = VK_QUERY_POOL_CREATE_RESET_BIT_KHR;
  info.queryType = VK_QUERY_TYPE_TIMESTAMP;
  info.queryCount = 2;
  const auto pool = Create<VkQueryPool>(device(), vkCreateQueryPool, vkDestroyQueryPool, info);
  RunCommands(gpu(), [&](VkCommandBuffer commands) {
    vkCmdWriteTimestamp(commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, pool, 1);
  });
  uint64_t found[4] = {};  // each value and whether it is there
  EXPECT_EQ(vkGetQueryPoolResults(device(), pool, 0, 2, sizeof found, found, 16,
                                  VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WITH_AVAILABILITY_BIT),
            VK_NOT_READY);
  EXPECT_EQ(found[1], 0u);
  EXPECT_EQ(found[3], 1u);
  EXPECT_NE(found[2], 0u);
}
#endif

TEST_F(ExtensionTest, AMeshShaderDraws) {
  VkPhysicalDeviceMeshShaderFeaturesEXT features = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MESH_SHADER_FEATURES_EXT};
  features.meshShader = VK_TRUE;
  if (!OpenWith({VK_EXT_MESH_SHADER_EXTENSION_NAME}, &features)) GTEST_SKIP() << "no mesh shaders";
  constexpr uint32_t kSide = 16;
  const Image image = MakeImage(gpu(), VK_FORMAT_R8G8B8A8_UNORM, kSide, kSide,
                                VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT | VK_IMAGE_USAGE_TRANSFER_SRC_BIT);
  const auto mesh = MakeShader(gpu(), half_mesh);
  const auto fragment = MakeShader(gpu(), colour_frag);
  const auto layout = MakePipelineLayout(gpu(), {});
  GraphicsState state;
  VkPipelineShaderStageCreateInfo stages[2] = {{VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO},
                                               {VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO}};
  stages[0].stage = VK_SHADER_STAGE_MESH_BIT_EXT;
  stages[0].module = mesh;
  stages[1].stage = VK_SHADER_STAGE_FRAGMENT_BIT;
  stages[1].module = fragment;
  stages[0].pName = stages[1].pName = "main";
  VkPipelineRenderingCreateInfo formats = {VK_STRUCTURE_TYPE_PIPELINE_RENDERING_CREATE_INFO};
  formats.colorAttachmentCount = 1;
  formats.pColorAttachmentFormats = &image.format;
  state.dynamic.dynamicStateCount = static_cast<uint32_t>(state.dynamic_states.size());
  state.dynamic.pDynamicStates = state.dynamic_states.data();
  state.info.pNext = &formats;
  state.info.layout = layout;
  state.info.stageCount = 2;
  state.info.pStages = stages;
  state.info.pVertexInputState = nullptr;
  state.info.pInputAssemblyState = nullptr;
  VkPipeline made = VK_NULL_HANDLE;
  VK_CHECK(vkCreateGraphicsPipelines(device(), VK_NULL_HANDLE, 1, &state.info, nullptr, &made));
  const Owned<VkPipeline> pipeline(device(), made, vkDestroyPipeline);

  const auto draw = gpu().DeviceFunction<PFN_vkCmdDrawMeshTasksEXT>("vkCmdDrawMeshTasksEXT");
  RunCommands(gpu(), [&](VkCommandBuffer commands) {
    ChangeLayout(commands, image, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL);
    VkRenderingAttachmentInfo colour = {VK_STRUCTURE_TYPE_RENDERING_ATTACHMENT_INFO};
    colour.imageView = image.view;
    colour.imageLayout = VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL;
    colour.loadOp = VK_ATTACHMENT_LOAD_OP_CLEAR;
    colour.storeOp = VK_ATTACHMENT_STORE_OP_STORE;
    colour.clearValue.color = {{1, 0, 0, 1}};
    VkRenderingInfo rendering = {VK_STRUCTURE_TYPE_RENDERING_INFO};
    rendering.renderArea.extent = {kSide, kSide};
    rendering.layerCount = 1;
    rendering.colorAttachmentCount = 1;
    rendering.pColorAttachments = &colour;
    vkCmdBeginRendering(commands, &rendering);
    vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
    SetViewport(commands, kSide, kSide);
    draw(commands, 1, 1, 1);
    vkCmdEndRendering(commands);
    ChangeLayout(commands, image, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
  });
  const std::vector<uint8_t> texels = ReadTexels(gpu(), image, 4);
  for (uint32_t i = 0; i < kSide * kSide; ++i) {
    const uint8_t red[] = {255, 0, 0, 255}, green[] = {0, 255, 0, 255};
    const bool left = i % kSide < kSide / 2;
    ASSERT_EQ(std::memcmp(&texels[i * 4], left ? green : red, 4), 0) << i;
  }
}

}  // namespace
}  // namespace vesper::test
