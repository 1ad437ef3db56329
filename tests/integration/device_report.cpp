// Prints everything that Vulkan says of each physical device, as stable text: extensions, versions,
// limits, features, queue families, memory types, formats.
#include "tests/integration/device_report.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

#include "tests/support/vulkan_context.h"

namespace vesper::test::report {
namespace {

void PrintExtensions(const char* heading, std::vector<VkExtensionProperties> extensions) {
  std::ranges::sort(extensions, {}, [](const auto& e) { return std::string(e.extensionName); });
  std::printf("%s:\n", heading);
  for (const auto& extension : extensions) {
    std::printf("  extension %s %u\n", extension.extensionName, extension.specVersion);
  }
}

void PrintInstance() {
  uint32_t version = 0;
  VK_CHECK(vkEnumerateInstanceVersion(&version));
  std::printf("instance:\n");
  Line("apiVersion", version);
  uint32_t count = 0;
  VK_CHECK(vkEnumerateInstanceExtensionProperties(nullptr, &count, nullptr));
  std::vector<VkExtensionProperties> extensions(count);
  VK_CHECK(vkEnumerateInstanceExtensionProperties(nullptr, &count, extensions.data()));
  PrintExtensions("instance extensions", extensions);
}

void PrintProperties(VkPhysicalDevice device) {
  VkPhysicalDeviceVulkan13Properties v13 = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_PROPERTIES};
  VkPhysicalDeviceVulkan12Properties v12 = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES};
  VkPhysicalDeviceVulkan11Properties v11 = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES};
  VkPhysicalDeviceProperties2 core = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
  core.pNext = &v11;
  v11.pNext = &v12;
  v12.pNext = &v13;
  vkGetPhysicalDeviceProperties2(device, &core);
  std::printf("properties:\n");
  Print(core.properties);
  std::printf("properties 1.1:\n");
  Print(v11);
  std::printf("properties 1.2:\n");
  Print(v12);
  std::printf("properties 1.3:\n");
  Print(v13);
}

void PrintFeatures(VkPhysicalDevice device) {
  CoreFeatures features;
  vkGetPhysicalDeviceFeatures2(device, &features.core);
  std::printf("features:\n");
  Print(features.core.features);
  std::printf("features 1.1:\n");
  Print(features.v11);
  std::printf("features 1.2:\n");
  Print(features.v12);
  std::printf("features 1.3:\n");
  Print(features.v13);
}

void PrintDeviceExtensions(VkPhysicalDevice device) {
  uint32_t count = 0;
  VK_CHECK(vkEnumerateDeviceExtensionProperties(device, nullptr, &count, nullptr));
  std::vector<VkExtensionProperties> extensions(count);
  VK_CHECK(vkEnumerateDeviceExtensionProperties(device, nullptr, &count, extensions.data()));
  PrintExtensions("device extensions", extensions);
}

void PrintQueuesAndMemory(VkPhysicalDevice device) {
  uint32_t count = 0;
  vkGetPhysicalDeviceQueueFamilyProperties2(device, &count, nullptr);
  std::vector<VkQueueFamilyProperties2> families(count, {VK_STRUCTURE_TYPE_QUEUE_FAMILY_PROPERTIES_2});
  vkGetPhysicalDeviceQueueFamilyProperties2(device, &count, families.data());
  for (uint32_t i = 0; i < count; ++i) {
    const VkQueueFamilyProperties& family = families[i].queueFamilyProperties;
    std::printf("queue family %u:\n", i);
    Line("queueFlags", family.queueFlags);
    Line("queueCount", family.queueCount);
    Line("timestampValidBits", family.timestampValidBits);
    const VkExtent3D& granularity = family.minImageTransferGranularity;
    std::printf("  granularity = %u %u %u\n", granularity.width, granularity.height, granularity.depth);
  }
  VkPhysicalDeviceMemoryProperties memory;
  vkGetPhysicalDeviceMemoryProperties(device, &memory);
  std::printf("memory:\n");
  for (uint32_t i = 0; i < memory.memoryTypeCount; ++i) {
    std::printf("  type %u = flags 0x%x heap %u\n", i, memory.memoryTypes[i].propertyFlags,
                memory.memoryTypes[i].heapIndex);
  }
  for (uint32_t i = 0; i < memory.memoryHeapCount; ++i) {
    std::printf("  heap %u = flags 0x%x size %" PRIu64 "\n", i, memory.memoryHeaps[i].flags,
                memory.memoryHeaps[i].size);
  }
}

// The formats of Vulkan 1.0 to 1.3.
std::vector<VkFormat> AllFormats() {
  std::vector<VkFormat> formats;
  const auto add = [&](int first, int last) {
    for (int i = first; i <= last; ++i) formats.push_back(static_cast<VkFormat>(i));
  };
  add(VK_FORMAT_UNDEFINED, VK_FORMAT_ASTC_12x12_SRGB_BLOCK);
  add(VK_FORMAT_G8B8G8R8_422_UNORM, VK_FORMAT_G16_B16_R16_3PLANE_444_UNORM);
  add(VK_FORMAT_G8_B8R8_2PLANE_444_UNORM, VK_FORMAT_G16_B16R16_2PLANE_444_UNORM);
  add(VK_FORMAT_A4R4G4B4_UNORM_PACK16, VK_FORMAT_A4B4G4R4_UNORM_PACK16);
  add(VK_FORMAT_ASTC_4x4_SFLOAT_BLOCK, VK_FORMAT_ASTC_12x12_SFLOAT_BLOCK);
  return formats;
}

void PrintImageLimits(VkPhysicalDevice device, VkFormat format, VkImageType type, VkImageTiling tiling,
                      VkImageUsageFlags usage) {
  VkPhysicalDeviceImageFormatInfo2 info = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_IMAGE_FORMAT_INFO_2};
  info.format = format;
  info.type = type;
  info.tiling = tiling;
  info.usage = usage;
  VkImageFormatProperties2 properties = {VK_STRUCTURE_TYPE_IMAGE_FORMAT_PROPERTIES_2};
  const VkResult result = vkGetPhysicalDeviceImageFormatProperties2(device, &info, &properties);
  std::printf("    image type %d tiling %d usage 0x%x = ", type, tiling, usage);
  if (result != VK_SUCCESS) {
    std::printf("%s\n", ResultName(result).c_str());
    return;
  }
  const VkImageFormatProperties& limits = properties.imageFormatProperties;
  std::printf("extent %u %u %u mips %u layers %u samples 0x%x size %" PRIu64 "\n", limits.maxExtent.width,
              limits.maxExtent.height, limits.maxExtent.depth, limits.maxMipLevels, limits.maxArrayLayers,
              limits.sampleCounts, limits.maxResourceSize);
}

void PrintFormats(VkPhysicalDevice device) {
  std::printf("formats:\n");
  for (const VkFormat format : AllFormats()) {
    VkFormatProperties3 detail = {VK_STRUCTURE_TYPE_FORMAT_PROPERTIES_3};
    VkFormatProperties2 properties = {VK_STRUCTURE_TYPE_FORMAT_PROPERTIES_2};
    properties.pNext = &detail;
    vkGetPhysicalDeviceFormatProperties2(device, format, &properties);
    std::printf("  format %d = linear 0x%x 0x%" PRIx64 " optimal 0x%x 0x%" PRIx64 " buffer 0x%x 0x%" PRIx64 "\n",
                format, properties.formatProperties.linearTilingFeatures, detail.linearTilingFeatures,
                properties.formatProperties.optimalTilingFeatures, detail.optimalTilingFeatures,
                properties.formatProperties.bufferFeatures, detail.bufferFeatures);
    if (properties.formatProperties.optimalTilingFeatures == 0) continue;
    constexpr VkImageUsageFlags kUsages[] = {VK_IMAGE_USAGE_SAMPLED_BIT, VK_IMAGE_USAGE_STORAGE_BIT,
                                             VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT | VK_IMAGE_USAGE_TRANSFER_SRC_BIT,
                                             VK_IMAGE_USAGE_DEPTH_STENCIL_ATTACHMENT_BIT};
    for (const VkImageUsageFlags usage : kUsages) {
      for (const VkImageType type : {VK_IMAGE_TYPE_1D, VK_IMAGE_TYPE_2D, VK_IMAGE_TYPE_3D}) {
        PrintImageLimits(device, format, type, VK_IMAGE_TILING_OPTIMAL, usage);
      }
    }
    PrintImageLimits(device, format, VK_IMAGE_TYPE_2D, VK_IMAGE_TILING_LINEAR, VK_IMAGE_USAGE_TRANSFER_SRC_BIT);
  }
}

void PrintExternalHandles(VkPhysicalDevice device) {
  std::printf("external handles:\n");
  for (uint32_t bit = 1; bit <= VK_EXTERNAL_SEMAPHORE_HANDLE_TYPE_SYNC_FD_BIT; bit <<= 1) {
    VkPhysicalDeviceExternalSemaphoreInfo semaphore = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_SEMAPHORE_INFO};
    semaphore.handleType = static_cast<VkExternalSemaphoreHandleTypeFlagBits>(bit);
    VkExternalSemaphoreProperties offered = {VK_STRUCTURE_TYPE_EXTERNAL_SEMAPHORE_PROPERTIES};
    vkGetPhysicalDeviceExternalSemaphoreProperties(device, &semaphore, &offered);
    std::printf("  semaphore 0x%x = 0x%x\n", bit, offered.externalSemaphoreFeatures);
  }
}

void PrintDevices() {
  Context context;  // its instance; each device is reported, not only the chosen one
  uint32_t count = 0;
  VK_CHECK(vkEnumeratePhysicalDevices(context.instance(), &count, nullptr));
  std::vector<VkPhysicalDevice> devices(count);
  VK_CHECK(vkEnumeratePhysicalDevices(context.instance(), &count, devices.data()));
  for (uint32_t i = 0; i < count; ++i) {
    std::printf("device %u:\n", i);
    PrintProperties(devices[i]);
    PrintDeviceExtensions(devices[i]);
    PrintFeatures(devices[i]);
    PrintQueuesAndMemory(devices[i]);
    PrintFormats(devices[i]);
    PrintExternalHandles(devices[i]);
  }
}

}  // namespace
}  // namespace vesper::test::report

int main() {
  try {
    vesper::test::report::PrintInstance();
    vesper::test::report::PrintDevices();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "device_report: %s\n", error.what());
    return 1;
  }
  return 0;
}
