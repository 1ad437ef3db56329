// A Vulkan layer for the server's side of tests: one more memory type, device-local and not visible to the host, as GPUs with
// memory of their own have. What is allocated of it is the driver's first type.
#include <vulkan/vk_layer.h>
#include <vulkan/vulkan.h>

#include <array>
#include <cstring>
#include <mutex>
#include <unordered_map>

namespace {

struct Instance {
  PFN_vkGetInstanceProcAddr next = nullptr;
  PFN_vkGetPhysicalDeviceMemoryProperties memory_properties = nullptr;
  PFN_vkGetPhysicalDeviceMemoryProperties2 memory_properties2 = nullptr;  // null on 1.0
};
struct Device {
  PFN_vkGetDeviceProcAddr next = nullptr;
  uint32_t added = 0;  // the type
};

std::mutex g_mutex;
std::unordered_map<void*, Instance> g_instances;  // by the loader's word, which physical devices share
std::unordered_map<void*, Device> g_devices;

void* Key(const void* dispatchable) { return *static_cast<void* const*>(dispatchable); }

Instance NextOfInstance(VkPhysicalDevice physical_device) {
  const std::lock_guard lock(g_mutex);
  return g_instances[Key(physical_device)];
}

Device NextOfDevice(VkDevice device) {
  const std::lock_guard lock(g_mutex);
  return g_devices[Key(device)];
}

template <typename Function>
Function Next(VkDevice device, const char* name) {
  return reinterpret_cast<Function>(NextOfDevice(device).next(device, name));
}

template <typename Link>
Link* FindLink(const void* chain, VkStructureType type) {
  for (auto* each = static_cast<const Link*>(chain); each != nullptr; each = static_cast<const Link*>(each->pNext)) {
    if (each->sType == type && each->function == VK_LAYER_LINK_INFO) return const_cast<Link*>(each);
  }
  return nullptr;
}

void AddType(VkPhysicalDeviceMemoryProperties* properties) {
  const uint32_t heap = properties->memoryTypes[0].heapIndex;
  properties->memoryTypes[properties->memoryTypeCount++] = {VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, heap};
}

void AddBit(VkDevice device, VkMemoryRequirements* requirements) {
  if ((requirements->memoryTypeBits & 1) != 0) requirements->memoryTypeBits |= 1u << NextOfDevice(device).added;
}

VKAPI_ATTR VkResult VKAPI_CALL CreateInstance(const VkInstanceCreateInfo* info, const VkAllocationCallbacks* allocator,
                                              VkInstance* instance) {
  auto* link = FindLink<VkLayerInstanceCreateInfo>(info->pNext, VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO);
  if (link == nullptr) return VK_ERROR_INITIALIZATION_FAILED;
  const PFN_vkGetInstanceProcAddr next = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
  link->u.pLayerInfo = link->u.pLayerInfo->pNext;
  const auto create = reinterpret_cast<PFN_vkCreateInstance>(next(nullptr, "vkCreateInstance"));
  const VkResult result = create(info, allocator, instance);
  if (result != VK_SUCCESS) return result;
  const auto find = [&](const char* name) { return next(*instance, name); };
  const std::lock_guard lock(g_mutex);
  g_instances[Key(*instance)] = {
      next, reinterpret_cast<PFN_vkGetPhysicalDeviceMemoryProperties>(find("vkGetPhysicalDeviceMemoryProperties")),
      reinterpret_cast<PFN_vkGetPhysicalDeviceMemoryProperties2>(find("vkGetPhysicalDeviceMemoryProperties2"))};
  return result;
}

VKAPI_ATTR void VKAPI_CALL GetPhysicalDeviceMemoryProperties(VkPhysicalDevice physical_device,
                                                             VkPhysicalDeviceMemoryProperties* properties) {
  NextOfInstance(physical_device).memory_properties(physical_device, properties);
  AddType(properties);
}

VKAPI_ATTR void VKAPI_CALL GetPhysicalDeviceMemoryProperties2(VkPhysicalDevice physical_device,
                                                              VkPhysicalDeviceMemoryProperties2* properties) {
  NextOfInstance(physical_device).memory_properties2(physical_device, properties);
  AddType(&properties->memoryProperties);
}

VKAPI_ATTR VkResult VKAPI_CALL CreateDevice(VkPhysicalDevice physical_device, const VkDeviceCreateInfo* info,
                                            const VkAllocationCallbacks* allocator, VkDevice* device) {
  auto* link = FindLink<VkLayerDeviceCreateInfo>(info->pNext, VK_STRUCTURE_TYPE_LOADER_DEVICE_CREATE_INFO);
  if (link == nullptr) return VK_ERROR_INITIALIZATION_FAILED;
  const PFN_vkGetInstanceProcAddr instance_next = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
  const PFN_vkGetDeviceProcAddr next = link->u.pLayerInfo->pfnNextGetDeviceProcAddr;
  link->u.pLayerInfo = link->u.pLayerInfo->pNext;
  const auto create = reinterpret_cast<PFN_vkCreateDevice>(instance_next(nullptr, "vkCreateDevice"));
  const VkResult result = create(physical_device, info, allocator, device);
  if (result != VK_SUCCESS) return result;
  VkPhysicalDeviceMemoryProperties properties;
  GetPhysicalDeviceMemoryProperties(physical_device, &properties);
  const std::lock_guard lock(g_mutex);
  g_devices[Key(*device)] = {next, properties.memoryTypeCount - 1};
  return result;
}

VKAPI_ATTR VkResult VKAPI_CALL AllocateMemory(VkDevice device, const VkMemoryAllocateInfo* info,
                                              const VkAllocationCallbacks* allocator, VkDeviceMemory* memory) {
  VkMemoryAllocateInfo changed = *info;
  if (changed.memoryTypeIndex == NextOfDevice(device).added) changed.memoryTypeIndex = 0;
  return Next<PFN_vkAllocateMemory>(device, "vkAllocateMemory")(device, &changed, allocator, memory);
}

VKAPI_ATTR void VKAPI_CALL GetBufferMemoryRequirements(VkDevice device, VkBuffer buffer, VkMemoryRequirements* out) {
  Next<PFN_vkGetBufferMemoryRequirements>(device, "vkGetBufferMemoryRequirements")(device, buffer, out);
  AddBit(device, out);
}

VKAPI_ATTR void VKAPI_CALL GetImageMemoryRequirements(VkDevice device, VkImage image, VkMemoryRequirements* out) {
  Next<PFN_vkGetImageMemoryRequirements>(device, "vkGetImageMemoryRequirements")(device, image, out);
  AddBit(device, out);
}

VKAPI_ATTR void VKAPI_CALL GetBufferMemoryRequirements2(VkDevice device, const VkBufferMemoryRequirementsInfo2* info,
                                                        VkMemoryRequirements2* out) {
  Next<PFN_vkGetBufferMemoryRequirements2>(device, "vkGetBufferMemoryRequirements2")(device, info, out);
  AddBit(device, &out->memoryRequirements);
}

VKAPI_ATTR void VKAPI_CALL GetImageMemoryRequirements2(VkDevice device, const VkImageMemoryRequirementsInfo2* info,
                                                       VkMemoryRequirements2* out) {
  Next<PFN_vkGetImageMemoryRequirements2>(device, "vkGetImageMemoryRequirements2")(device, info, out);
  AddBit(device, &out->memoryRequirements);
}

VKAPI_ATTR void VKAPI_CALL GetDeviceBufferMemoryRequirements(VkDevice device,
                                                             const VkDeviceBufferMemoryRequirements* info,
                                                             VkMemoryRequirements2* out) {
  Next<PFN_vkGetDeviceBufferMemoryRequirements>(device, "vkGetDeviceBufferMemoryRequirements")(device, info, out);
  AddBit(device, &out->memoryRequirements);
}

VKAPI_ATTR void VKAPI_CALL GetDeviceImageMemoryRequirements(VkDevice device,
                                                            const VkDeviceImageMemoryRequirements* info,
                                                            VkMemoryRequirements2* out) {
  Next<PFN_vkGetDeviceImageMemoryRequirements>(device, "vkGetDeviceImageMemoryRequirements")(device, info, out);
  AddBit(device, &out->memoryRequirements);
}

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL GetDeviceProcAddr(VkDevice device, const char* name);
VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL GetInstanceProcAddr(VkInstance instance, const char* name);

struct Named {
  const char* name;
  PFN_vkVoidFunction function;
};

template <typename Function>
Named Name(const char* name, Function function) {
  return {name, reinterpret_cast<PFN_vkVoidFunction>(function)};
}

// The function of that name, or of the name of the extension that became core.
template <size_t kCount>
PFN_vkVoidFunction Find(const std::array<Named, kCount>& all, const char* name) {
  const size_t length = std::strlen(name);
  const size_t core = length > 3 && std::strcmp(name + length - 3, "KHR") == 0 ? length - 3 : length;
  for (const Named& each : all) {
    if (std::strlen(each.name) == core && std::strncmp(each.name, name, core) == 0) return each.function;
  }
  return nullptr;
}

PFN_vkVoidFunction OfDevice(const char* name) {
  const std::array all = {Name("vkGetDeviceProcAddr", GetDeviceProcAddr),
                          Name("vkAllocateMemory", AllocateMemory),
                          Name("vkGetBufferMemoryRequirements", GetBufferMemoryRequirements),
                          Name("vkGetImageMemoryRequirements", GetImageMemoryRequirements),
                          Name("vkGetBufferMemoryRequirements2", GetBufferMemoryRequirements2),
                          Name("vkGetImageMemoryRequirements2", GetImageMemoryRequirements2),
                          Name("vkGetDeviceBufferMemoryRequirements", GetDeviceBufferMemoryRequirements),
                          Name("vkGetDeviceImageMemoryRequirements", GetDeviceImageMemoryRequirements)};
  return Find(all, name);
}

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL GetDeviceProcAddr(VkDevice device, const char* name) {
  const PFN_vkVoidFunction own = OfDevice(name);
  return own != nullptr ? own : NextOfDevice(device).next(device, name);
}

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL GetInstanceProcAddr(VkInstance instance, const char* name) {
  const std::array all = {Name("vkGetInstanceProcAddr", GetInstanceProcAddr), Name("vkCreateInstance", CreateInstance),
                          Name("vkCreateDevice", CreateDevice),
                          Name("vkGetPhysicalDeviceMemoryProperties", GetPhysicalDeviceMemoryProperties),
                          Name("vkGetPhysicalDeviceMemoryProperties2", GetPhysicalDeviceMemoryProperties2)};
  PFN_vkVoidFunction own = Find(all, name);
  if (own == nullptr) own = OfDevice(name);
  if (own != nullptr || instance == VK_NULL_HANDLE) return own;
  const std::lock_guard lock(g_mutex);
  return g_instances[Key(instance)].next(instance, name);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) VkResult vkNegotiateLoaderLayerInterfaceVersion(
    VkNegotiateLayerInterface* version) {
  version->loaderLayerInterfaceVersion = 2;
  version->pfnGetInstanceProcAddr = GetInstanceProcAddr;
  version->pfnGetDeviceProcAddr = GetDeviceProcAddr;
  version->pfnGetPhysicalDeviceProcAddr = nullptr;
  return VK_SUCCESS;
}
