// Physical devices, devices and queues: objects of the client, the same handles every time.
#include "generated/wire/device.h"

#include <unistd.h>

#include <algorithm>
#include <memory>
#include <span>
#include <vector>

#include "client/base/limits.h"
#include "client/icd/proc_addr.h"
#include "client/objects/object.h"
#include "client/overrides/guard.h"
#include "client/overrides/recording.h"
#include "client/overrides/uploads.h"
#include "client/session/call.h"
#include "client/session/physical_device.h"
#include "client/session/session.h"
#include "client/wsi/device_windows.h"
#include "client/wsi/swapchain.h"
#include "generated/client/entry_points.h"
#include "generated/client/overrides.h"
#include "generated/vk/extensions.h"
#include "runtime/vk/chain.h"

namespace vesper::client {
namespace {

VkResult AskCreate(Device* device, const VkDeviceCreateInfo& asked) {
  const std::vector<VkExtensionProperties>* offered = nullptr;
  const VkResult listed = DeviceExtensions(device->physical_device, &offered);
  if (listed < 0) return listed;
  std::vector<const char*> forwarded;
  for (uint32_t i = 0; i < asked.enabledExtensionCount; ++i) {
    const char* name = asked.ppEnabledExtensionNames[i];
    if (!Contains(*offered, name)) return VK_ERROR_EXTENSION_NOT_PRESENT;
    device->extensions.emplace_back(name);
    if (SideOf(name) == ExtensionSide::kRemote) forwarded.push_back(name);
  }
  device->memory_report.Take(asked.pNext);
  VkDeviceCreateInfo info = asked;
  info.enabledLayerCount = 0;
  info.ppEnabledLayerNames = nullptr;
  info.enabledExtensionCount = static_cast<uint32_t>(forwarded.size());
  info.ppEnabledExtensionNames = forwarded.data();
  auto* handle = ToHandle<VkDevice>(device);
  wire::CreateDeviceArgs args{};
  args.physicalDevice = ToHandle<VkPhysicalDevice>(device->physical_device);
  args.pCreateInfo = &info;
  args.pDevice = &handle;
  Call call(device, Command::kCreateDevice);
  return call.Ask(&args) ? args.result : call.failure();
}

VkResult MakeDevice(PhysicalDevice* physical_device, const VkDeviceCreateInfo& asked, VkDevice* made) {
  Session& session = *physical_device->session;
  uint64_t id = kNullObject;
  if (session.lost()) return VK_ERROR_DEVICE_LOST;
  if (!session.ids().Mint(HandleType::kDevice, {&id, 1})) return VK_ERROR_OUT_OF_HOST_MEMORY;
  auto device =
      std::make_unique<Device>(physical_device, id, physical_device->session, std::make_unique<DeviceWindows>());
  const VkResult result = AskCreate(device.get(), asked);
  if (result < 0) {
    session.ids().Forget(id);
    return result;
  }
  entry::GetPhysicalDeviceMemoryProperties(ToHandle<VkPhysicalDevice>(physical_device), &device->memory_properties);
  VkPhysicalDeviceProperties properties{};
  entry::GetPhysicalDeviceProperties(ToHandle<VkPhysicalDevice>(physical_device), &properties);
  device->most_allocations = properties.limits.maxMemoryAllocationCount;
  if (session.lost()) return VK_ERROR_DEVICE_LOST;
  session.AddDevice(device.get());
  *made = ToHandle<VkDevice>(device.release());
  return VK_SUCCESS;
}

// The queue's handle, made and announced when it is first asked for.
Queue* FindQueue(Device* device, const VkDeviceQueueInfo2& info, bool by_info) {
  if (device->session->abandoned()) return nullptr;
  const MutexLock lock(device->queues_mutex);
  for (const auto& queue : device->queues) {
    if (queue->info.queueFamilyIndex == info.queueFamilyIndex && queue->info.queueIndex == info.queueIndex &&
        queue->info.flags == info.flags) {
      return queue.get();
    }
  }
  Session& session = *device->session;
  uint64_t id = kNullObject;
  if (!session.ids().Mint(HandleType::kQueue, {&id, 1})) return nullptr;
  auto queue = std::make_unique<Queue>(device, id);
  queue->info = info;
  queue->info.pNext = nullptr;
  auto* handle = ToHandle<VkQueue>(queue.get());
  session.AddQueue(queue.get());
  if (by_info) {
    wire::GetDeviceQueue2Args args{};
    args.device = ToHandle<VkDevice>(device);
    args.pQueueInfo = &queue->info;
    args.pQueue = &handle;
    Call(session, Command::kGetDeviceQueue2).Post(&args);
  } else {
    wire::GetDeviceQueueArgs args{};
    args.device = ToHandle<VkDevice>(device);
    args.queueFamilyIndex = info.queueFamilyIndex;
    args.queueIndex = info.queueIndex;
    args.pQueue = &handle;
    Call(session, Command::kGetDeviceQueue).Post(&args);
  }
  device->queues.push_back(std::move(queue));
  return device->queues.back().get();
}

// Those of one server are added.
VkResult GroupsOf(VkInstance instance, std::vector<VkPhysicalDeviceGroupProperties>* groups) {
  VkPhysicalDeviceGroupProperties empty{};
  empty.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_GROUP_PROPERTIES;
  uint32_t count = limits::kMaxPhysicalDevices;
  std::vector<VkPhysicalDeviceGroupProperties> own(count, empty);
  wire::EnumeratePhysicalDeviceGroupsArgs args{};
  args.instance = instance;
  args.pPhysicalDeviceGroupCount = &count;
  args.pPhysicalDeviceGroupProperties = own.data();
  Call call(instance, Command::kEnumeratePhysicalDeviceGroups);
  const VkResult result = call.AskCached(&args) ? args.result : call.failure();
  if (result >= 0) groups->insert(groups->end(), own.begin(), own.begin() + count);
  return result;
}

}  // namespace

namespace overrides {

VKAPI_ATTR VkResult VKAPI_CALL EnumeratePhysicalDevices(VkInstance instance, uint32_t* pPhysicalDeviceCount,
                                                        VkPhysicalDevice* pPhysicalDevices) {
  return Guarded([&] {
    std::vector<VkPhysicalDevice> handles;
    FromHandle<Instance>(instance)->ForEach([&](const Instance& each) {
      for (const auto& device : each.physical_devices) handles.push_back(ToHandle<VkPhysicalDevice>(device.get()));
    });
    return HandOut<VkPhysicalDevice>(handles, pPhysicalDeviceCount, pPhysicalDevices);
  });
}

VKAPI_ATTR VkResult VKAPI_CALL
EnumeratePhysicalDeviceGroups(VkInstance instance, uint32_t* pPhysicalDeviceGroupCount,
                              VkPhysicalDeviceGroupProperties* pPhysicalDeviceGroupProperties) {
  return Guarded([&] {
    std::vector<VkPhysicalDeviceGroupProperties> groups;
    VkResult result = GroupsOf(instance, &groups);
    if (result < 0) {
      *pPhysicalDeviceGroupCount = 0;
      return result;
    }
    for (const auto& other : FromHandle<Instance>(instance)->others)
      GroupsOf(ToHandle<VkInstance>(other.get()), &groups);
    const auto count = static_cast<uint32_t>(groups.size());
    for (uint32_t i = 0; pPhysicalDeviceGroupProperties != nullptr && i < *pPhysicalDeviceGroupCount && i < count;
         ++i) {
      groups[i].pNext = pPhysicalDeviceGroupProperties[i].pNext;
    }
    return HandOut<VkPhysicalDeviceGroupProperties>(groups, pPhysicalDeviceGroupCount, pPhysicalDeviceGroupProperties);
  });
}

VKAPI_ATTR VkResult VKAPI_CALL EnumerateDeviceExtensionProperties(VkPhysicalDevice physicalDevice,
                                                                  const char* pLayerName, uint32_t* pPropertyCount,
                                                                  VkExtensionProperties* pProperties) {
  if (pLayerName != nullptr) return VK_ERROR_LAYER_NOT_PRESENT;
  return Guarded([&] {
    const std::vector<VkExtensionProperties>* extensions = nullptr;
    const VkResult result = DeviceExtensions(FromHandle<PhysicalDevice>(physicalDevice), &extensions);
    if (result < 0) {
      *pPropertyCount = 0;  // which loaders use all the same
      return result;
    }
    return HandOut<VkExtensionProperties>(*extensions, pPropertyCount, pProperties);
  });
}

VKAPI_ATTR VkResult VKAPI_CALL EnumerateDeviceLayerProperties(VkPhysicalDevice, uint32_t* pPropertyCount,
                                                              VkLayerProperties*) {
  *pPropertyCount = 0;
  return VK_SUCCESS;
}

// A newer driver's version is not the application's to use beyond what this library encodes.
VKAPI_ATTR void VKAPI_CALL GetPhysicalDeviceProperties(VkPhysicalDevice physicalDevice,
                                                       VkPhysicalDeviceProperties* pProperties) {
  entry::GetPhysicalDeviceProperties(physicalDevice, pProperties);
  pProperties->apiVersion = std::min(pProperties->apiVersion, kRegistryApiVersion);
}

VKAPI_ATTR void VKAPI_CALL GetPhysicalDeviceProperties2(VkPhysicalDevice physicalDevice,
                                                        VkPhysicalDeviceProperties2* pProperties) {
  auto* const device = FromHandle<PhysicalDevice>(physicalDevice);
  if (!AnswerFromMemory(device, &device->known_properties, pProperties)) {
    entry::GetPhysicalDeviceProperties2(physicalDevice, pProperties);
  }
  pProperties->properties.apiVersion = std::min(pProperties->properties.apiVersion, kRegistryApiVersion);
  auto* const host = FindInChain<VkPhysicalDeviceExternalMemoryHostPropertiesEXT>(
      pProperties->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT);
  if (host == nullptr || host->minImportedHostPointerAlignment == 0) return;  // nobody answered
  const auto page = static_cast<VkDeviceSize>(sysconf(_SC_PAGESIZE));
  host->minImportedHostPointerAlignment = std::max(host->minImportedHostPointerAlignment, page);
}

VKAPI_ATTR void VKAPI_CALL GetPhysicalDeviceQueueFamilyProperties(VkPhysicalDevice physicalDevice,
                                                                  uint32_t* pQueueFamilyPropertyCount,
                                                                  VkQueueFamilyProperties* pQueueFamilyProperties) {
  QueueFamilies families;
  GetQueueFamilies(FromHandle<PhysicalDevice>(physicalDevice), &families);
  HandOut<VkQueueFamilyProperties>({families.all.data(), families.count}, pQueueFamilyPropertyCount,
                                   pQueueFamilyProperties);
}

// Chains are asked for as they are; else it is what the older command says.
VKAPI_ATTR void VKAPI_CALL GetPhysicalDeviceQueueFamilyProperties2(VkPhysicalDevice physicalDevice,
                                                                   uint32_t* pQueueFamilyPropertyCount,
                                                                   VkQueueFamilyProperties2* pQueueFamilyProperties) {
  const std::span<const VkQueueFamilyProperties2> asked(
      pQueueFamilyProperties, pQueueFamilyProperties == nullptr ? 0 : *pQueueFamilyPropertyCount);
  if (std::any_of(asked.begin(), asked.end(), [](const auto& each) { return each.pNext != nullptr; })) {
    return entry::GetPhysicalDeviceQueueFamilyProperties2(physicalDevice, pQueueFamilyPropertyCount,
                                                          pQueueFamilyProperties);
  }
  QueueFamilies families;
  GetQueueFamilies(FromHandle<PhysicalDevice>(physicalDevice), &families);
  const uint32_t room = pQueueFamilyProperties == nullptr ? families.count : *pQueueFamilyPropertyCount;
  *pQueueFamilyPropertyCount = std::min(room, families.count);
  for (uint32_t i = 0; pQueueFamilyProperties != nullptr && i < *pQueueFamilyPropertyCount; ++i) {
    pQueueFamilyProperties[i].queueFamilyProperties = families.all[i];
  }
}

VKAPI_ATTR VkResult VKAPI_CALL CreateDevice(VkPhysicalDevice physicalDevice, const VkDeviceCreateInfo* pCreateInfo,
                                            const VkAllocationCallbacks*, VkDevice* pDevice) {
  *pDevice = VK_NULL_HANDLE;
  return Guarded([&] { return MakeDevice(FromHandle<PhysicalDevice>(physicalDevice), *pCreateInfo, pDevice); });
}

VKAPI_ATTR void VKAPI_CALL DestroyDevice(VkDevice device, const VkAllocationCallbacks*) {
  if (device == VK_NULL_HANDLE) return;
  std::unique_ptr<Device> object(FromHandle<Device>(device));
  Session& session = *object->session;
  EndPresenters(object.get());
  EndUploads(object.get());
  DropDestructions(object.get());
  wire::DestroyDeviceArgs args{};
  args.device = device;
  Call call(device, Command::kDestroyDevice);
  call.Post(&args);
  session.RemoveDevice(object.get());
  if (session.abandoned()) return;
  {
    const MutexLock lock(object->queues_mutex);
    for (const auto& queue : object->queues) {
      session.RemoveQueue(queue.get());
      session.ids().Forget(queue->header.id);
    }
  }
  session.ids().Forget(object->header.id);
}

VKAPI_ATTR void VKAPI_CALL GetDeviceQueue(VkDevice device, uint32_t queueFamilyIndex, uint32_t queueIndex,
                                          VkQueue* pQueue) {
  VkDeviceQueueInfo2 info{};
  info.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_INFO_2;
  info.queueFamilyIndex = queueFamilyIndex;
  info.queueIndex = queueIndex;
  *pQueue = VK_NULL_HANDLE;
  Guarded([&] {
    *pQueue = ToHandle<VkQueue>(FindQueue(FromHandle<Device>(device), info, false));
    return VK_SUCCESS;
  });
}

VKAPI_ATTR void VKAPI_CALL GetDeviceQueue2(VkDevice device, const VkDeviceQueueInfo2* pQueueInfo, VkQueue* pQueue) {
  *pQueue = VK_NULL_HANDLE;
  Guarded([&] {
    *pQueue = ToHandle<VkQueue>(FindQueue(FromHandle<Device>(device), *pQueueInfo, pQueueInfo->flags != 0));
    return VK_SUCCESS;
  });
}

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL GetDeviceProcAddr(VkDevice device, const char* pName) {
  return DeviceProcAddr(device, pName);
}

}  // namespace overrides
}  // namespace vesper::client
