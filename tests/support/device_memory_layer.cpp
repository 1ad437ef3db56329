// A Vulkan layer for the server's side of tests: one more memory type, device-local and not visible to the host, as GPUs with
// memory of their own have. What is allocated of it is the driver's first type.
#include <array>

#include "tests/support/layer.h"

namespace vesper::test::layer {
namespace {

uint32_t g_added = 0;  // the type, of the one driver that a test's server has

void AddType(VkPhysicalDeviceMemoryProperties* properties) {
  const uint32_t heap = properties->memoryTypes[0].heapIndex;
  g_added = properties->memoryTypeCount;
  properties->memoryTypes[properties->memoryTypeCount++] = {VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, heap};
}

void AddBit(VkMemoryRequirements* requirements) {
  if ((requirements->memoryTypeBits & 1) != 0) requirements->memoryTypeBits |= 1u << g_added;
}

VKAPI_ATTR void VKAPI_CALL GetPhysicalDeviceMemoryProperties(VkPhysicalDevice physical_device,
                                                             VkPhysicalDeviceMemoryProperties* properties) {
  NextOfInstance<PFN_vkGetPhysicalDeviceMemoryProperties>(physical_device, "vkGetPhysicalDeviceMemoryProperties")(
      physical_device, properties);
  AddType(properties);
}

VKAPI_ATTR void VKAPI_CALL GetPhysicalDeviceMemoryProperties2(VkPhysicalDevice physical_device,
                                                              VkPhysicalDeviceMemoryProperties2* properties) {
  NextOfInstance<PFN_vkGetPhysicalDeviceMemoryProperties2>(physical_device, "vkGetPhysicalDeviceMemoryProperties2")(
      physical_device, properties);
  AddType(&properties->memoryProperties);
}

VKAPI_ATTR VkResult VKAPI_CALL AllocateMemory(VkDevice device, const VkMemoryAllocateInfo* info,
                                              const VkAllocationCallbacks* allocator, VkDeviceMemory* memory) {
  VkMemoryAllocateInfo changed = *info;
  if (changed.memoryTypeIndex == g_added) changed.memoryTypeIndex = 0;
  return NextOfDevice<PFN_vkAllocateMemory>(device, "vkAllocateMemory")(device, &changed, allocator, memory);
}

VKAPI_ATTR void VKAPI_CALL GetBufferMemoryRequirements(VkDevice device, VkBuffer buffer, VkMemoryRequirements* out) {
  NextOfDevice<PFN_vkGetBufferMemoryRequirements>(device, "vkGetBufferMemoryRequirements")(device, buffer, out);
  AddBit(out);
}

VKAPI_ATTR void VKAPI_CALL GetImageMemoryRequirements(VkDevice device, VkImage image, VkMemoryRequirements* out) {
  NextOfDevice<PFN_vkGetImageMemoryRequirements>(device, "vkGetImageMemoryRequirements")(device, image, out);
  AddBit(out);
}

VKAPI_ATTR void VKAPI_CALL GetBufferMemoryRequirements2(VkDevice device, const VkBufferMemoryRequirementsInfo2* info,
                                                        VkMemoryRequirements2* out) {
  NextOfDevice<PFN_vkGetBufferMemoryRequirements2>(device, "vkGetBufferMemoryRequirements2")(device, info, out);
  AddBit(&out->memoryRequirements);
}

VKAPI_ATTR void VKAPI_CALL GetImageMemoryRequirements2(VkDevice device, const VkImageMemoryRequirementsInfo2* info,
                                                       VkMemoryRequirements2* out) {
  NextOfDevice<PFN_vkGetImageMemoryRequirements2>(device, "vkGetImageMemoryRequirements2")(device, info, out);
  AddBit(&out->memoryRequirements);
}

VKAPI_ATTR void VKAPI_CALL GetDeviceBufferMemoryRequirements(VkDevice device,
                                                             const VkDeviceBufferMemoryRequirements* info,
                                                             VkMemoryRequirements2* out) {
  NextOfDevice<PFN_vkGetDeviceBufferMemoryRequirements>(device, "vkGetDeviceBufferMemoryRequirements")(device, info,
                                                                                                       out);
  AddBit(&out->memoryRequirements);
}

VKAPI_ATTR void VKAPI_CALL GetDeviceImageMemoryRequirements(VkDevice device,
                                                            const VkDeviceImageMemoryRequirements* info,
                                                            VkMemoryRequirements2* out) {
  NextOfDevice<PFN_vkGetDeviceImageMemoryRequirements>(device, "vkGetDeviceImageMemoryRequirements")(device, info, out);
  AddBit(&out->memoryRequirements);
}

}  // namespace

std::span<const Named> OwnFunctions() {
  static const std::array all = {Name("vkGetPhysicalDeviceMemoryProperties", GetPhysicalDeviceMemoryProperties),
                                 Name("vkGetPhysicalDeviceMemoryProperties2", GetPhysicalDeviceMemoryProperties2),
                                 Name("vkAllocateMemory", AllocateMemory),
                                 Name("vkGetBufferMemoryRequirements", GetBufferMemoryRequirements),
                                 Name("vkGetImageMemoryRequirements", GetImageMemoryRequirements),
                                 Name("vkGetBufferMemoryRequirements2", GetBufferMemoryRequirements2),
                                 Name("vkGetImageMemoryRequirements2", GetImageMemoryRequirements2),
                                 Name("vkGetDeviceBufferMemoryRequirements", GetDeviceBufferMemoryRequirements),
                                 Name("vkGetDeviceImageMemoryRequirements", GetDeviceImageMemoryRequirements)};
  return all;
}

}  // namespace vesper::test::layer

VESPER_TEST_LAYER
