// Features whose commands or data cannot travel are not offered, whatever the driver says: see the refused commands and the
// structs that stay on one side in codegen/policy. Those that the client has itself are offered.
#include "client/session/physical_device.h"
#include "generated/client/entry_points.h"
#include "generated/client/overrides.h"
#include "runtime/vk/chain.h"

namespace vesper::client::overrides {
namespace {

void Correct(VkBaseOutStructure& features) {
  switch (features.sType) {
    case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ACCELERATION_STRUCTURE_FEATURES_KHR: {
      auto& these = As<VkPhysicalDeviceAccelerationStructureFeaturesKHR>(features);
      these.accelerationStructureHostCommands = VK_FALSE;
      break;
    }
    case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_OPACITY_MICROMAP_FEATURES_EXT:
      As<VkPhysicalDeviceOpacityMicromapFeaturesEXT>(features).micromapHostCommands = VK_FALSE;
      break;
    case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DESCRIPTOR_BUFFER_FEATURES_EXT:
      As<VkPhysicalDeviceDescriptorBufferFeaturesEXT>(features).descriptorBufferCaptureReplay = VK_FALSE;
      break;
    case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_RAY_TRACING_PIPELINE_FEATURES_KHR: {
      auto& these = As<VkPhysicalDeviceRayTracingPipelineFeaturesKHR>(features);
      these.rayTracingPipelineShaderGroupHandleCaptureReplay = VK_FALSE;
      these.rayTracingPipelineShaderGroupHandleCaptureReplayMixed = VK_FALSE;
      break;
    }
    case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PRESENT_ID_FEATURES_KHR:
      As<VkPhysicalDevicePresentIdFeaturesKHR>(features).presentId = VK_TRUE;
      break;
    case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PRESENT_WAIT_FEATURES_KHR:
      As<VkPhysicalDevicePresentWaitFeaturesKHR>(features).presentWait = VK_TRUE;
      break;
    case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SWAPCHAIN_MAINTENANCE_1_FEATURES_EXT:
      As<VkPhysicalDeviceSwapchainMaintenance1FeaturesEXT>(features).swapchainMaintenance1 = VK_TRUE;
      break;
    case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DEVICE_MEMORY_REPORT_FEATURES_EXT:
      As<VkPhysicalDeviceDeviceMemoryReportFeaturesEXT>(features).deviceMemoryReport = VK_TRUE;
      break;
#ifdef VK_EXT_host_image_copy
    case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_HOST_IMAGE_COPY_FEATURES_EXT:
      As<VkPhysicalDeviceHostImageCopyFeaturesEXT>(features).hostImageCopy = VK_FALSE;
      break;
#endif
#ifdef VK_VERSION_1_4
    case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_4_FEATURES:
      As<VkPhysicalDeviceVulkan14Features>(features).hostImageCopy = VK_FALSE;
      break;
#endif
    default:
      break;
  }
}

}  // namespace

VKAPI_ATTR void VKAPI_CALL GetPhysicalDeviceFeatures2(VkPhysicalDevice physicalDevice,
                                                      VkPhysicalDeviceFeatures2* pFeatures) {
  auto* const device = FromHandle<PhysicalDevice>(physicalDevice);
  if (!AnswerFromMemory(device, &device->known_features, pFeatures)) {
    entry::GetPhysicalDeviceFeatures2(physicalDevice, pFeatures);
  }
  for (VkBaseOutStructure& each : ChainOf(pFeatures)) Correct(each);
}

}  // namespace vesper::client::overrides
