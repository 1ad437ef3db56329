// A Vulkan layer for the server's side of tests: vkCreateComputePipelines and vkCreateQueryPool
// wait until the file $VESPER_TEST_GATE exists, as a driver that takes as long as the test wants.
// Gives up after a minute, so that no test can hang. Pipelines that are not to be optimized are refused.
#include <unistd.h>
#include <vulkan/vk_layer.h>
#include <vulkan/vulkan.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>
#include <unordered_map>

namespace {

struct Instance {
  PFN_vkGetInstanceProcAddr next = nullptr;
};
struct Device {
  PFN_vkGetDeviceProcAddr next = nullptr;
  PFN_vkCreateComputePipelines create_compute_pipelines = nullptr;
  PFN_vkCreateQueryPool create_query_pool = nullptr;
};

std::mutex g_mutex;
std::unordered_map<void*, Instance> g_instances;  // by the loader's word, which physical devices share
std::unordered_map<void*, Device> g_devices;

void* Key(const void* dispatchable) { return *static_cast<void* const*>(dispatchable); }

template <typename Link>
const Link* FindLink(const void* chain, VkStructureType type) {
  for (auto* each = static_cast<const Link*>(chain); each != nullptr; each = static_cast<const Link*>(each->pNext)) {
    if (each->sType == type && each->function == VK_LAYER_LINK_INFO) return each;
  }
  return nullptr;
}

VKAPI_ATTR VkResult VKAPI_CALL CreateInstance(const VkInstanceCreateInfo* info, const VkAllocationCallbacks* allocator,
                                              VkInstance* instance) {
  auto* link = const_cast<VkLayerInstanceCreateInfo*>(
      FindLink<VkLayerInstanceCreateInfo>(info->pNext, VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO));
  if (link == nullptr) return VK_ERROR_INITIALIZATION_FAILED;
  const PFN_vkGetInstanceProcAddr next = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
  link->u.pLayerInfo = link->u.pLayerInfo->pNext;
  const auto create = reinterpret_cast<PFN_vkCreateInstance>(next(nullptr, "vkCreateInstance"));
  const VkResult result = create(info, allocator, instance);
  const std::lock_guard lock(g_mutex);
  if (result == VK_SUCCESS) g_instances[Key(*instance)].next = next;
  return result;
}

VKAPI_ATTR VkResult VKAPI_CALL CreateDevice(VkPhysicalDevice physical_device, const VkDeviceCreateInfo* info,
                                            const VkAllocationCallbacks* allocator, VkDevice* device) {
  auto* link = const_cast<VkLayerDeviceCreateInfo*>(
      FindLink<VkLayerDeviceCreateInfo>(info->pNext, VK_STRUCTURE_TYPE_LOADER_DEVICE_CREATE_INFO));
  if (link == nullptr) return VK_ERROR_INITIALIZATION_FAILED;
  const PFN_vkGetInstanceProcAddr instance_next = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
  const PFN_vkGetDeviceProcAddr next = link->u.pLayerInfo->pfnNextGetDeviceProcAddr;
  link->u.pLayerInfo = link->u.pLayerInfo->pNext;
  const auto create = reinterpret_cast<PFN_vkCreateDevice>(instance_next(nullptr, "vkCreateDevice"));
  const VkResult result = create(physical_device, info, allocator, device);
  const std::lock_guard lock(g_mutex);
  if (result == VK_SUCCESS) {
    g_devices[Key(*device)] = {
        next, reinterpret_cast<PFN_vkCreateComputePipelines>(next(*device, "vkCreateComputePipelines")),
        reinterpret_cast<PFN_vkCreateQueryPool>(next(*device, "vkCreateQueryPool"))};
  }
  return result;
}

// The device's next layer, once the gate is open.
Device BehindTheGate(VkDevice device) {
  const char* gate = std::getenv("VESPER_TEST_GATE");
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (gate != nullptr && access(gate, F_OK) != 0 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const std::lock_guard lock(g_mutex);
  return g_devices[Key(device)];
}

VKAPI_ATTR VkResult VKAPI_CALL CreateComputePipelines(VkDevice device, VkPipelineCache cache, uint32_t count,
                                                      const VkComputePipelineCreateInfo* infos,
                                                      const VkAllocationCallbacks* allocator, VkPipeline* pipelines) {
  const Device behind = BehindTheGate(device);
  for (uint32_t i = 0; i < count; ++i) {  // as a driver that does not like what it gets
    if ((infos[i].flags & VK_PIPELINE_CREATE_DISABLE_OPTIMIZATION_BIT) == 0) continue;
    std::fill_n(pipelines, count, nullptr);
    return VK_ERROR_UNKNOWN;
  }
  return behind.create_compute_pipelines(device, cache, count, infos, allocator, pipelines);
}

VKAPI_ATTR VkResult VKAPI_CALL CreateQueryPool(VkDevice device, const VkQueryPoolCreateInfo* info,
                                               const VkAllocationCallbacks* allocator, VkQueryPool* pool) {
  return BehindTheGate(device).create_query_pool(device, info, allocator, pool);
}

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL GetDeviceProcAddr(VkDevice device, const char* name) {
  if (std::strcmp(name, "vkGetDeviceProcAddr") == 0) return reinterpret_cast<PFN_vkVoidFunction>(GetDeviceProcAddr);
  if (std::strcmp(name, "vkCreateComputePipelines") == 0) {
    return reinterpret_cast<PFN_vkVoidFunction>(CreateComputePipelines);
  }
  if (std::strcmp(name, "vkCreateQueryPool") == 0) return reinterpret_cast<PFN_vkVoidFunction>(CreateQueryPool);
  const std::lock_guard lock(g_mutex);
  return g_devices[Key(device)].next(device, name);
}

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL GetInstanceProcAddr(VkInstance instance, const char* name) {
  if (std::strcmp(name, "vkGetInstanceProcAddr") == 0) return reinterpret_cast<PFN_vkVoidFunction>(GetInstanceProcAddr);
  if (std::strcmp(name, "vkCreateInstance") == 0) return reinterpret_cast<PFN_vkVoidFunction>(CreateInstance);
  if (std::strcmp(name, "vkCreateDevice") == 0) return reinterpret_cast<PFN_vkVoidFunction>(CreateDevice);
  if (std::strcmp(name, "vkGetDeviceProcAddr") == 0) return reinterpret_cast<PFN_vkVoidFunction>(GetDeviceProcAddr);
  if (instance == VK_NULL_HANDLE) return nullptr;
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
