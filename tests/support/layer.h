// The skeleton of a Vulkan layer for the server's side of tests: who is next, and which functions are the layer's own. A layer is one
// source file that defines OwnFunctions() and ends with VESPER_TEST_LAYER.
#pragma once

#include <vulkan/vk_layer.h>
#include <vulkan/vulkan.h>

#include <cstring>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>

namespace vesper::test::layer {

struct Named {
  const char* name;
  PFN_vkVoidFunction function;
};

template <typename Function>
Named Name(const char* name, Function function) {
  return {name, reinterpret_cast<PFN_vkVoidFunction>(function)};
}

// The layer's own functions, by the names that they have in the core of Vulkan.
std::span<const Named> OwnFunctions();

struct NextInstance {
  VkInstance instance = VK_NULL_HANDLE;
  PFN_vkGetInstanceProcAddr get = nullptr;
  // Behind the layer's own; asked for while the instance is made, for later the loader would name the layer's.
  std::unordered_map<std::string, PFN_vkVoidFunction> behind{};
};

inline std::mutex g_mutex;
inline std::unordered_map<void*, NextInstance> g_instances;  // by the loader's word, which physical devices share
inline std::unordered_map<void*, PFN_vkGetDeviceProcAddr> g_devices;

inline void* Key(const void* dispatchable) { return *static_cast<void* const*>(dispatchable); }

// The function behind the layer's own of that name, of an instance or a physical device.
template <typename Function, typename Handle>
Function NextOfInstance(Handle handle, const char* name) {
  const std::lock_guard lock(g_mutex);
  return reinterpret_cast<Function>(g_instances[Key(handle)].behind[name]);
}
template <typename Function>
Function NextOfDevice(VkDevice device, const char* name) {
  const std::lock_guard lock(g_mutex);
  return reinterpret_cast<Function>(g_devices[Key(device)](device, name));
}

template <typename Link>
Link* FindLink(const void* chain, VkStructureType type) {
  for (auto* each = static_cast<const Link*>(chain); each != nullptr; each = static_cast<const Link*>(each->pNext)) {
    if (each->sType == type && each->function == VK_LAYER_LINK_INFO) return const_cast<Link*>(each);
  }
  return nullptr;
}

inline VKAPI_ATTR VkResult VKAPI_CALL CreateInstance(const VkInstanceCreateInfo* info,
                                                     const VkAllocationCallbacks* allocator, VkInstance* instance) {
  auto* link = FindLink<VkLayerInstanceCreateInfo>(info->pNext, VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO);
  if (link == nullptr) return VK_ERROR_INITIALIZATION_FAILED;
  const PFN_vkGetInstanceProcAddr next = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
  link->u.pLayerInfo = link->u.pLayerInfo->pNext;
  const auto create = reinterpret_cast<PFN_vkCreateInstance>(next(nullptr, "vkCreateInstance"));
  const VkResult result = create(info, allocator, instance);
  if (result != VK_SUCCESS) return result;
  NextInstance made{*instance, next};
  for (const Named& own : OwnFunctions()) made.behind[own.name] = next(*instance, own.name);
  const std::lock_guard lock(g_mutex);
  g_instances[Key(*instance)] = std::move(made);
  return result;
}

inline VKAPI_ATTR VkResult VKAPI_CALL CreateDevice(VkPhysicalDevice physical_device, const VkDeviceCreateInfo* info,
                                                   const VkAllocationCallbacks* allocator, VkDevice* device) {
  auto* link = FindLink<VkLayerDeviceCreateInfo>(info->pNext, VK_STRUCTURE_TYPE_LOADER_DEVICE_CREATE_INFO);
  if (link == nullptr) return VK_ERROR_INITIALIZATION_FAILED;
  const PFN_vkGetInstanceProcAddr instance_next = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
  const PFN_vkGetDeviceProcAddr next = link->u.pLayerInfo->pfnNextGetDeviceProcAddr;
  link->u.pLayerInfo = link->u.pLayerInfo->pNext;
  const auto create = reinterpret_cast<PFN_vkCreateDevice>(instance_next(nullptr, "vkCreateDevice"));
  const VkResult result = create(physical_device, info, allocator, device);
  const std::lock_guard lock(g_mutex);
  if (result == VK_SUCCESS) g_devices[Key(*device)] = next;
  return result;
}

// Of that name, or of the name of the extension that became core.
inline PFN_vkVoidFunction Find(std::span<const Named> all, const char* name) {
  const size_t length = std::strlen(name);
  const size_t core = length > 3 && std::strcmp(name + length - 3, "KHR") == 0 ? length - 3 : length;
  for (const Named& each : all) {
    if (std::strlen(each.name) == core && std::strncmp(each.name, name, core) == 0) return each.function;
  }
  return nullptr;
}

inline VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL GetDeviceProcAddr(VkDevice device, const char* name) {
  const Named of_layers[] = {Name("vkGetDeviceProcAddr", GetDeviceProcAddr)};
  PFN_vkVoidFunction own = Find(of_layers, name);
  if (own == nullptr) own = Find(OwnFunctions(), name);
  return own != nullptr ? own : NextOfDevice<PFN_vkVoidFunction>(device, name);
}

inline VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL GetInstanceProcAddr(VkInstance instance, const char* name) {
  const Named of_layers[] = {Name("vkGetInstanceProcAddr", GetInstanceProcAddr),
                             Name("vkCreateInstance", CreateInstance), Name("vkCreateDevice", CreateDevice),
                             Name("vkGetDeviceProcAddr", GetDeviceProcAddr)};
  PFN_vkVoidFunction own = Find(of_layers, name);
  if (own == nullptr) own = Find(OwnFunctions(), name);
  if (own != nullptr || instance == VK_NULL_HANDLE) return own;
  const std::lock_guard lock(g_mutex);
  const NextInstance& next = g_instances[Key(instance)];
  return next.get(next.instance, name);
}

}  // namespace vesper::test::layer

#define VESPER_TEST_LAYER                                                                            \
  extern "C" __attribute__((visibility("default"))) VkResult vkNegotiateLoaderLayerInterfaceVersion( \
      VkNegotiateLayerInterface* version) {                                                          \
    version->loaderLayerInterfaceVersion = 2;                                                        \
    version->pfnGetInstanceProcAddr = vesper::test::layer::GetInstanceProcAddr;                      \
    version->pfnGetDeviceProcAddr = vesper::test::layer::GetDeviceProcAddr;                          \
    version->pfnGetPhysicalDeviceProcAddr = nullptr;                                                 \
    return VK_SUCCESS;                                                                               \
  }
