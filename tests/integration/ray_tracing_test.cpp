// A scene of one triangle, whose structures the device builds, and rays through a shader binding table: those to the left hit it.
#include <algorithm>
#include <cstring>

#include "shaders/ray_rchit.h"
#include "shaders/ray_rgen.h"
#include "shaders/ray_rmiss.h"
#include "tests/integration/gpu_test.h"

namespace vesper::test {
namespace {

constexpr uint32_t kRays = 64;
constexpr VkBufferUsageFlags kAddress = VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT;
constexpr VkBufferUsageFlags kInput = kAddress | VK_BUFFER_USAGE_ACCELERATION_STRUCTURE_BUILD_INPUT_READ_ONLY_BIT_KHR;

struct Structure {
  Buffer memory;
  Owned<VkAccelerationStructureKHR> handle;
  VkDeviceAddress address = 0;
};

class RayTracingTest : public GpuTest {
 protected:
  VkDeviceAddress AddressOf(const Buffer& buffer) {
    VkBufferDeviceAddressInfo info = {VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO};
    info.buffer = buffer.handle;
    return vkGetBufferDeviceAddress(device(), &info);
  }

  Structure Build(VkAccelerationStructureTypeKHR type, const VkAccelerationStructureGeometryKHR& geometry) {
    VkAccelerationStructureBuildGeometryInfoKHR build = {
        VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_BUILD_GEOMETRY_INFO_KHR};
    build.type = type;
    build.geometryCount = 1;
    build.pGeometries = &geometry;
    const uint32_t one = 1;
    VkAccelerationStructureBuildSizesInfoKHR sizes = {VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_BUILD_SIZES_INFO_KHR};
    gpu().DeviceFunction<PFN_vkGetAccelerationStructureBuildSizesKHR>("vkGetAccelerationStructureBuildSizesKHR")(
        device(), VK_ACCELERATION_STRUCTURE_BUILD_TYPE_DEVICE_KHR, &build, &one, &sizes);
    Structure made;
    made.memory = MakeBuffer(gpu(), sizes.accelerationStructureSize,
                             kAddress | VK_BUFFER_USAGE_ACCELERATION_STRUCTURE_STORAGE_BIT_KHR, Placement::kDevice);
    VkAccelerationStructureCreateInfoKHR info = {VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_CREATE_INFO_KHR};
    info.buffer = made.memory.handle;
    info.size = sizes.accelerationStructureSize;
    info.type = type;
    VkAccelerationStructureKHR handle = VK_NULL_HANDLE;
    VK_CHECK(gpu().DeviceFunction<PFN_vkCreateAccelerationStructureKHR>("vkCreateAccelerationStructureKHR")(
        device(), &info, nullptr, &handle));
    made.handle = Owned<VkAccelerationStructureKHR>(
        device(), handle,
        gpu().DeviceFunction<PFN_vkDestroyAccelerationStructureKHR>("vkDestroyAccelerationStructureKHR"));

    constexpr VkDeviceSize kAlignment = 256;  // of scratch memory: what Vulkan allows at most
    const Buffer scratch = MakeBuffer(gpu(), sizes.buildScratchSize + kAlignment,
                                      kAddress | VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, Placement::kDevice);
    build.dstAccelerationStructure = handle;
    build.scratchData.deviceAddress = (AddressOf(scratch) + kAlignment - 1) / kAlignment * kAlignment;
    const VkAccelerationStructureBuildRangeInfoKHR range = {1, 0, 0, 0};
    const VkAccelerationStructureBuildRangeInfoKHR* ranges = &range;
    const auto record =
        gpu().DeviceFunction<PFN_vkCmdBuildAccelerationStructuresKHR>("vkCmdBuildAccelerationStructuresKHR");
    RunCommands(gpu(), [&](VkCommandBuffer commands) {
      record(commands, 1, &build, &ranges);
      FullBarrier(commands);
    });
    VkAccelerationStructureDeviceAddressInfoKHR which = {
        VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_DEVICE_ADDRESS_INFO_KHR};
    which.accelerationStructure = handle;
    made.address = gpu().DeviceFunction<PFN_vkGetAccelerationStructureDeviceAddressKHR>(
        "vkGetAccelerationStructureDeviceAddressKHR")(device(), &which);
    return made;
  }

  Structure BuildTriangle() {
    const Buffer corners = MakeBuffer(gpu(), 64, kInput, Placement::kHost);
    std::ranges::copy(std::vector<float>{-5, -5, 0, 0, -5, 0, 0, 100, 0}, corners.As<float>().begin());
    VkAccelerationStructureGeometryKHR geometry = {VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_GEOMETRY_KHR};
    geometry.geometryType = VK_GEOMETRY_TYPE_TRIANGLES_KHR;
    auto& triangles = geometry.geometry.triangles;
    triangles.sType = VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_GEOMETRY_TRIANGLES_DATA_KHR;
    triangles.vertexFormat = VK_FORMAT_R32G32B32_SFLOAT;
    triangles.vertexData.deviceAddress = AddressOf(corners);
    triangles.vertexStride = 12;
    triangles.maxVertex = 2;
    triangles.indexType = VK_INDEX_TYPE_NONE_KHR;
    return Build(VK_ACCELERATION_STRUCTURE_TYPE_BOTTOM_LEVEL_KHR, geometry);
  }

  Structure BuildScene(const Structure& triangle) {
    const Buffer instances = MakeBuffer(gpu(), sizeof(VkAccelerationStructureInstanceKHR), kInput, Placement::kHost);
    VkAccelerationStructureInstanceKHR instance = {};
    for (int i = 0; i < 3; ++i) instance.transform.matrix[i][i] = 1;
    instance.instanceCustomIndex = 23;
    instance.mask = 0xff;
    instance.accelerationStructureReference = triangle.address;
    std::memcpy(instances.mapped, &instance, sizeof instance);
    VkAccelerationStructureGeometryKHR geometry = {VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_GEOMETRY_KHR};
    geometry.geometryType = VK_GEOMETRY_TYPE_INSTANCES_KHR;
    geometry.geometry.instances.sType = VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_GEOMETRY_INSTANCES_DATA_KHR;
    geometry.geometry.instances.data.deviceAddress = AddressOf(instances);
    return Build(VK_ACCELERATION_STRUCTURE_TYPE_TOP_LEVEL_KHR, geometry);
  }

  // Ray generation, miss and hit, a group each.
  Owned<VkPipeline> MakePipeline(VkPipelineLayout layout) {
    const Owned<VkShaderModule> modules[] = {MakeShader(gpu(), ray_rgen), MakeShader(gpu(), ray_rmiss),
                                             MakeShader(gpu(), ray_rchit)};
    const VkShaderStageFlagBits kinds[] = {VK_SHADER_STAGE_RAYGEN_BIT_KHR, VK_SHADER_STAGE_MISS_BIT_KHR,
                                           VK_SHADER_STAGE_CLOSEST_HIT_BIT_KHR};
    VkPipelineShaderStageCreateInfo stages[3] = {};
    VkRayTracingShaderGroupCreateInfoKHR groups[3] = {};
    for (uint32_t i = 0; i < 3; ++i) {
      stages[i].sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
      stages[i].stage = kinds[i];
      stages[i].module = modules[i];
      stages[i].pName = "main";
      groups[i].sType = VK_STRUCTURE_TYPE_RAY_TRACING_SHADER_GROUP_CREATE_INFO_KHR;
      groups[i].type = i == 2 ? VK_RAY_TRACING_SHADER_GROUP_TYPE_TRIANGLES_HIT_GROUP_KHR
                              : VK_RAY_TRACING_SHADER_GROUP_TYPE_GENERAL_KHR;
      groups[i].generalShader = i == 2 ? VK_SHADER_UNUSED_KHR : i;
      groups[i].closestHitShader = i == 2 ? i : VK_SHADER_UNUSED_KHR;
      groups[i].anyHitShader = groups[i].intersectionShader = VK_SHADER_UNUSED_KHR;
    }
    VkRayTracingPipelineCreateInfoKHR info = {VK_STRUCTURE_TYPE_RAY_TRACING_PIPELINE_CREATE_INFO_KHR};
    info.stageCount = info.groupCount = 3;
    info.pStages = stages;
    info.pGroups = groups;
    info.maxPipelineRayRecursionDepth = 1;
    info.layout = layout;
    VkPipeline made = VK_NULL_HANDLE;
    VK_CHECK(gpu().DeviceFunction<PFN_vkCreateRayTracingPipelinesKHR>("vkCreateRayTracingPipelinesKHR")(
        device(), VK_NULL_HANDLE, VK_NULL_HANDLE, 1, &info, nullptr, &made));
    return {device(), made, vkDestroyPipeline};
  }
};

TEST_F(RayTracingTest, RaysHitATriangle) {
  VkPhysicalDeviceRayTracingPipelineFeaturesKHR tracing = {
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_RAY_TRACING_PIPELINE_FEATURES_KHR};
  VkPhysicalDeviceAccelerationStructureFeaturesKHR structures = {
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ACCELERATION_STRUCTURE_FEATURES_KHR};
  structures.pNext = &tracing;
  structures.accelerationStructure = tracing.rayTracingPipeline = VK_TRUE;
  if (!OpenWith({VK_KHR_ACCELERATION_STRUCTURE_EXTENSION_NAME, VK_KHR_RAY_TRACING_PIPELINE_EXTENSION_NAME,
                 VK_KHR_DEFERRED_HOST_OPERATIONS_EXTENSION_NAME},
                &structures)) {
    GTEST_SKIP() << "no ray tracing";
  }
  VkPhysicalDeviceRayTracingPipelinePropertiesKHR limits = {
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_RAY_TRACING_PIPELINE_PROPERTIES_KHR};
  VkPhysicalDeviceProperties2 properties = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, &limits, {}};
  vkGetPhysicalDeviceProperties2(gpu().physical_device(), &properties);
  const Structure triangle = BuildTriangle();
  const Structure scene = BuildScene(triangle);
  const Buffer data = MakeBuffer(gpu(), kRays * 4, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, Placement::kHost);
  std::ranges::fill(data.As<uint32_t>(), 0u);

  const VkDescriptorSetLayoutBinding bindings[] = {
      Binding(0, VK_DESCRIPTOR_TYPE_ACCELERATION_STRUCTURE_KHR, VK_SHADER_STAGE_RAYGEN_BIT_KHR),
      Binding(1, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, VK_SHADER_STAGE_RAYGEN_BIT_KHR)};
  const auto set_layout = MakeSetLayout(gpu(), bindings);
  const auto layout = MakePipelineLayout(gpu(), {set_layout.address(), 1});
  const VkDescriptorPoolSize sizes[] = {{VK_DESCRIPTOR_TYPE_ACCELERATION_STRUCTURE_KHR, 1},
                                        {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1}};
  const auto pool = MakeDescriptorPool(gpu(), 1, sizes);
  const VkDescriptorSet set = AllocateSet(gpu(), pool, set_layout);
  WriteBufferDescriptor(gpu(), set, 1, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, data);
  VkWriteDescriptorSetAccelerationStructureKHR named = {
      VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET_ACCELERATION_STRUCTURE_KHR};
  named.accelerationStructureCount = 1;
  named.pAccelerationStructures = scene.handle.address();
  VkWriteDescriptorSet write = {VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET, &named};
  write.dstSet = set;
  write.descriptorCount = 1;
  write.descriptorType = VK_DESCRIPTOR_TYPE_ACCELERATION_STRUCTURE_KHR;
  vkUpdateDescriptorSets(device(), 1, &write, 0, nullptr);

  const auto pipeline = MakePipeline(layout);
  const uint32_t handle_size = limits.shaderGroupHandleSize, step = limits.shaderGroupBaseAlignment;
  std::vector<uint8_t> handles(3 * handle_size);
  VK_CHECK(gpu().DeviceFunction<PFN_vkGetRayTracingShaderGroupHandlesKHR>("vkGetRayTracingShaderGroupHandlesKHR")(
      device(), pipeline, 0, 3, handles.size(), handles.data()));
  const Buffer table =
      MakeBuffer(gpu(), 4 * step, kAddress | VK_BUFFER_USAGE_SHADER_BINDING_TABLE_BIT_KHR, Placement::kHost);
  const VkDeviceAddress unaligned = AddressOf(table), start = (unaligned + step - 1) / step * step;
  VkStridedDeviceAddressRegionKHR regions[4] = {};
  for (uint32_t i = 0; i < 3; ++i) {
    std::memcpy(table.As<uint8_t>().data() + (start - unaligned) + i * step, &handles[i * handle_size], handle_size);
    regions[i] = {start + i * step, step, step};
  }
  const auto trace = gpu().DeviceFunction<PFN_vkCmdTraceRaysKHR>("vkCmdTraceRaysKHR");
  RunCommands(gpu(), [&](VkCommandBuffer commands) {
    vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_RAY_TRACING_KHR, pipeline);
    vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_RAY_TRACING_KHR, layout, 0, 1, &set, 0, nullptr);
    trace(commands, &regions[0], &regions[1], &regions[2], &regions[3], kRays, 1, 1);
    FullBarrier(commands);
  });
  for (uint32_t i = 0; i < kRays; ++i) ASSERT_EQ(data.As<uint32_t>()[i], i < kRays / 2 ? 123u : 7u) << i;
}

}  // namespace
}  // namespace vesper::test
