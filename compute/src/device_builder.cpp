#include "compute/src/device_builder.h"

#include <bit>

#include "compute/src/check.h"

namespace vesper::compute {
namespace {

std::set<std::string> OfferedExtensions(VkPhysicalDevice device) {
  uint32_t count = 0;
  vkEnumerateDeviceExtensionProperties(device, nullptr, &count, nullptr);
  std::vector<VkExtensionProperties> offered(count);
  vkEnumerateDeviceExtensionProperties(device, nullptr, &count, offered.data());
  std::set<std::string> names;
  for (const auto& extension : offered) names.insert(extension.extensionName);
  return names;
}

// Feature structs in one chain: first asked what there is, then reduced to what is enabled.
class Features {
 public:
  Features(const DeviceDescription& device, const std::set<std::string>& offered) {
    const bool has_13 = device.api_version >= VK_API_VERSION_1_3;
    Chain(&v11_);
    Chain(&v12_);
    if (has_13) Chain(&v13_);
    if (offered.contains(VK_NV_COOPERATIVE_MATRIX_EXTENSION_NAME)) Chain(&cooperative_nv_);
#ifdef VK_KHR_cooperative_matrix
    if (offered.contains(VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME)) Chain(&cooperative_khr_);
#endif
    vkGetPhysicalDeviceFeatures2(device.handle, &core_);
  }

  const void* Reduce() {
    const VkPhysicalDeviceFeatures core = core_.features;
    core_.features = {};
    core_.features.shaderFloat64 = core.shaderFloat64;
    core_.features.shaderInt64 = core.shaderInt64;
    core_.features.shaderInt16 = core.shaderInt16;
    v11_ = Keep(v11_, [](auto& to, const auto& from) {
      to.storageBuffer16BitAccess = from.storageBuffer16BitAccess;
      to.uniformAndStorageBuffer16BitAccess = from.uniformAndStorageBuffer16BitAccess;
      to.variablePointersStorageBuffer = from.variablePointersStorageBuffer;
      to.variablePointers = from.variablePointers;
    });
    v12_ = Keep(v12_, [](auto& to, const auto& from) {
      to.storageBuffer8BitAccess = from.storageBuffer8BitAccess;
      to.uniformAndStorageBuffer8BitAccess = from.uniformAndStorageBuffer8BitAccess;
      to.shaderFloat16 = from.shaderFloat16;
      to.shaderInt8 = from.shaderInt8;
      to.scalarBlockLayout = from.scalarBlockLayout;
      to.shaderSubgroupExtendedTypes = from.shaderSubgroupExtendedTypes;
      to.timelineSemaphore = VK_TRUE;
      to.vulkanMemoryModel = from.vulkanMemoryModel;
      to.vulkanMemoryModelDeviceScope = from.vulkanMemoryModelDeviceScope;
    });
    v13_ = Keep(v13_, [](auto& to, const auto& from) {
      to.subgroupSizeControl = from.subgroupSizeControl;
      to.computeFullSubgroups = from.computeFullSubgroups;
      to.shaderIntegerDotProduct = from.shaderIntegerDotProduct;
      to.maintenance4 = from.maintenance4;
    });
    cooperative_nv_.cooperativeMatrixRobustBufferAccess = VK_FALSE;
#ifdef VK_KHR_cooperative_matrix
    cooperative_khr_.cooperativeMatrixRobustBufferAccess = VK_FALSE;
#endif
    return &core_;
  }

  void Report(DeviceFeatures* features) const {
    features->float16 = v12_.shaderFloat16 == VK_TRUE;
    features->float64 = core_.features.shaderFloat64 == VK_TRUE;
    features->int8 = v12_.shaderInt8 == VK_TRUE;
    features->int16 = core_.features.shaderInt16 == VK_TRUE;
    features->int64 = core_.features.shaderInt64 == VK_TRUE;
    features->storage8 = v12_.storageBuffer8BitAccess == VK_TRUE;
    features->storage16 = v11_.storageBuffer16BitAccess == VK_TRUE;
    features->memory_model = v12_.vulkanMemoryModel == VK_TRUE;
    features->memory_model_device_scope = v12_.vulkanMemoryModelDeviceScope == VK_TRUE;
    features->subgroup_size_control = v13_.subgroupSizeControl == VK_TRUE;
    features->cooperative_matrix_nv = cooperative_nv_.cooperativeMatrix == VK_TRUE;
#ifdef VK_KHR_cooperative_matrix
    features->cooperative_matrix_khr = cooperative_khr_.cooperativeMatrix == VK_TRUE;
#endif
  }

 private:
  template <typename Struct>
  void Chain(Struct* next) {
    next->pNext = core_.pNext;
    core_.pNext = next;
  }

  template <typename Struct, typename Select>
  static Struct Keep(const Struct& from, Select select) {
    Struct to{from.sType, from.pNext};
    select(to, from);
    return to;
  }

  VkPhysicalDeviceFeatures2 core_{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2};
  VkPhysicalDeviceVulkan11Features v11_{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES};
  VkPhysicalDeviceVulkan12Features v12_{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES};
  VkPhysicalDeviceVulkan13Features v13_{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES};
  VkPhysicalDeviceCooperativeMatrixFeaturesNV cooperative_nv_{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_NV};
#ifdef VK_KHR_cooperative_matrix
  VkPhysicalDeviceCooperativeMatrixFeaturesKHR cooperative_khr_{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR};
#endif
};

void ReportSubgroups(const DeviceDescription& device, DeviceFeatures* features) {
  VkPhysicalDeviceVulkan13Properties v13{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_PROPERTIES};
  const bool has_13 = device.api_version >= VK_API_VERSION_1_3;
  VkPhysicalDeviceSubgroupProperties subgroup{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES,
                                              has_13 ? &v13 : nullptr};
  VkPhysicalDeviceProperties2 properties{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, &subgroup};
  vkGetPhysicalDeviceProperties2(device.handle, &properties);
  features->subgroup_size = subgroup.subgroupSize;
  // Only worth something where a compute shader may ask for a size.
  if ((v13.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT) == 0) {
    features->subgroup_size_control = false;
  }
  if (!features->subgroup_size_control) return;
  features->min_subgroup_size = v13.minSubgroupSize;
  features->max_subgroup_size = v13.maxSubgroupSize;
}

}  // namespace

std::vector<uint32_t> ChooseQueueFamilies(VkPhysicalDevice device) {
  uint32_t count = 0;
  vkGetPhysicalDeviceQueueFamilyProperties(device, &count, nullptr);
  std::vector<VkQueueFamilyProperties> families(count);
  vkGetPhysicalDeviceQueueFamilyProperties(device, &count, families.data());
  uint32_t compute = UINT32_MAX;
  uint32_t transfer = UINT32_MAX;
  int fewest_uses = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const VkQueueFlags flags = families[i].queueFlags;
    if (families[i].queueCount == 0) continue;
    if ((flags & VK_QUEUE_COMPUTE_BIT) != 0) {
      const bool alone = (flags & VK_QUEUE_GRAPHICS_BIT) == 0;
      const bool better =
          compute == UINT32_MAX || (alone && (families[compute].queueFlags & VK_QUEUE_GRAPHICS_BIT) != 0);
      if (better) compute = i;
    } else if ((flags & VK_QUEUE_TRANSFER_BIT) != 0 && (flags & VK_QUEUE_GRAPHICS_BIT) == 0) {
      // Families for video can copy as well.
      const int uses = std::popcount(flags);
      if (transfer == UINT32_MAX || uses < fewest_uses) transfer = i, fewest_uses = uses;
    }
  }
  if (compute == UINT32_MAX) throw Error(ErrorCode::NoComputeQueue, "choosing a queue family");
  if (transfer == UINT32_MAX) return {compute};
  return {compute, transfer};
}

VkDevice CreateVulkanDevice(const DeviceDescription& physical_device, const std::vector<uint32_t>& families,
                            DeviceFeatures* features, std::set<std::string>* extensions) {
  const std::set<std::string> offered = OfferedExtensions(physical_device.handle);
  Features enabled(physical_device, offered);
  std::vector<const char*> names;
  const auto enable = [&](const char* name) {
    if (!offered.contains(name)) return;
    names.push_back(name);
    extensions->insert(name);
  };
  enable(VK_NV_COOPERATIVE_MATRIX_EXTENSION_NAME);
#ifdef VK_KHR_cooperative_matrix
  enable(VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME);
#endif
  enable("VK_KHR_portability_subset");  // must be enabled where it is offered

  const float priority = 1.0f;
  std::vector<VkDeviceQueueCreateInfo> queues;
  for (const uint32_t family : families) {
    VkDeviceQueueCreateInfo queue{VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO};
    queue.queueFamilyIndex = family;
    queue.queueCount = 1;
    queue.pQueuePriorities = &priority;
    queues.push_back(queue);
  }
  VkDeviceCreateInfo info{VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, enabled.Reduce()};
  info.queueCreateInfoCount = static_cast<uint32_t>(queues.size());
  info.pQueueCreateInfos = queues.data();
  info.enabledExtensionCount = static_cast<uint32_t>(names.size());
  info.ppEnabledExtensionNames = names.data();
  VkDevice device = VK_NULL_HANDLE;
  Check(vkCreateDevice(physical_device.handle, &info, nullptr, &device), ErrorCode::DeviceCreationFailed,
        "creating a device");
  enabled.Report(features);
  ReportSubgroups(physical_device, features);
  return device;
}

}  // namespace vesper::compute
