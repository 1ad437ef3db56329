// Physical devices and devices: what is offered, and what the server needs beside the client's
// wishes.
#include <algorithm>
#include <cstring>
#include <vector>

#include "generated/server/overrides.h"
#include "server/base/chain.h"
#include "server/overrides/listing.h"
#include "server/session/session.h"

namespace vesper::server::overrides {
namespace {

uint32_t VersionOf(const vk::DispatchTable& driver, VkPhysicalDevice device) {
  VkPhysicalDeviceProperties properties;
  driver.GetPhysicalDeviceProperties(device, &properties);
  return properties.apiVersion;
}

std::vector<VkExtensionProperties> ExtensionsOf(const vk::DispatchTable& driver, VkPhysicalDevice device) {
  uint32_t count = 0;
  driver.EnumerateDeviceExtensionProperties(device, nullptr, &count, nullptr);
  std::vector<VkExtensionProperties> extensions(count);
  driver.EnumerateDeviceExtensionProperties(device, nullptr, &count, extensions.data());
  extensions.resize(count);
  return extensions;
}

bool Has(const std::vector<const char*>& names, const char* name) {
  return std::any_of(names.begin(), names.end(), [&](const char* n) { return std::strcmp(n, name) == 0; });
}

// Host pages can become device memory, and their conditions can be asked for.
bool CanImport(const vk::DispatchTable& driver, VkPhysicalDevice device) {
  if (VersionOf(driver, device) < VK_API_VERSION_1_1) return false;
  const std::vector<VkExtensionProperties> extensions = ExtensionsOf(driver, device);
  return std::any_of(extensions.begin(), extensions.end(), [](const VkExtensionProperties& extension) {
    return std::strcmp(extension.extensionName, VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME) == 0;
  });
}

bool SupportsTimelines(const vk::DispatchTable& driver, VkPhysicalDevice device) {
  if (driver.GetPhysicalDeviceFeatures2 == nullptr) return false;
  if (VersionOf(driver, device) < VK_API_VERSION_1_2) {
    const std::vector<VkExtensionProperties> extensions = ExtensionsOf(driver, device);
    const auto is_timeline = [](const VkExtensionProperties& extension) {
      return std::strcmp(extension.extensionName, VK_KHR_TIMELINE_SEMAPHORE_EXTENSION_NAME) == 0;
    };
    if (std::none_of(extensions.begin(), extensions.end(), is_timeline)) return false;
  }
  VkPhysicalDeviceTimelineSemaphoreFeatures timeline{};
  timeline.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES;
  VkPhysicalDeviceFeatures2 features{};
  features.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
  features.pNext = &timeline;
  driver.GetPhysicalDeviceFeatures2(device, &features);
  return timeline.timelineSemaphore == VK_TRUE;
}

// Enables timeline semaphores in the create-info's chain, adding `own` to it when no member speaks
// of them.
void EnableTimelines(VkDeviceCreateInfo* info, VkPhysicalDeviceTimelineSemaphoreFeatures* own) {
  void* const chain = const_cast<void*>(info->pNext);  // the server's own
  if (auto* known = FindInChain<VkPhysicalDeviceTimelineSemaphoreFeatures>(
          chain, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES)) {
    known->timelineSemaphore = VK_TRUE;
    return;
  }
  if (auto* known =
          FindInChain<VkPhysicalDeviceVulkan12Features>(chain, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES)) {
    known->timelineSemaphore = VK_TRUE;
    return;
  }
  *own = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES, chain, VK_TRUE};
  info->pNext = own;
}

// How many queues of each family are made.
std::vector<uint32_t> QueuesOf(const vk::DispatchTable& driver, VkPhysicalDevice device,
                               const VkDeviceCreateInfo& info) {
  uint32_t families = 0;
  driver.GetPhysicalDeviceQueueFamilyProperties(device, &families, nullptr);
  std::vector<uint32_t> queues(families, 0);
  for (uint32_t i = 0; i < info.queueCreateInfoCount; ++i) {
    const VkDeviceQueueCreateInfo& made = info.pQueueCreateInfos[i];
    if (made.queueFamilyIndex < families) queues[made.queueFamilyIndex] += made.queueCount;
  }
  return queues;
}

}  // namespace

void EnumeratePhysicalDevices(Session& session, const vk::DispatchTable&, wire::EnumeratePhysicalDevicesArgs& v) {
  v.result =
      GiveList<VkPhysicalDevice>(session.instance().physical_devices, v.pPhysicalDeviceCount, v.pPhysicalDevices);
}

void EnumeratePhysicalDeviceGroups(Session& session, const vk::DispatchTable& driver,
                                   wire::EnumeratePhysicalDeviceGroupsArgs& v) {
  if (driver.EnumeratePhysicalDeviceGroups == nullptr) {
    v.result = VK_ERROR_INITIALIZATION_FAILED;
    return;
  }
  uint32_t count = 0;
  v.result = driver.EnumeratePhysicalDeviceGroups(v.instance, &count, nullptr);
  if (v.result < 0) return;
  VkPhysicalDeviceGroupProperties empty{};
  empty.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_GROUP_PROPERTIES;
  std::vector<VkPhysicalDeviceGroupProperties> groups(count, empty);
  v.result = driver.EnumeratePhysicalDeviceGroups(v.instance, &count, groups.data());
  if (v.result < 0) return;
  groups.resize(count);
  const std::vector<VkPhysicalDevice>& offered = session.instance().physical_devices;
  const auto rank = [&](VkPhysicalDevice d) { return std::find(offered.begin(), offered.end(), d) - offered.begin(); };
  for (VkPhysicalDeviceGroupProperties& group : groups) {
    auto* const begin = group.physicalDevices;
    auto* const end = std::remove_if(begin, begin + group.physicalDeviceCount, [&](VkPhysicalDevice device) {
      return rank(device) == static_cast<ptrdiff_t>(offered.size());
    });
    group.physicalDeviceCount = static_cast<uint32_t>(end - begin);
  }
  std::erase_if(groups, [](const auto& group) { return group.physicalDeviceCount == 0; });
  std::stable_sort(groups.begin(), groups.end(), [&](const auto& a, const auto& b) {
    return rank(a.physicalDevices[0]) < rank(b.physicalDevices[0]);
  });
  for (uint32_t i = 0; v.pPhysicalDeviceGroupProperties != nullptr && i < *v.pPhysicalDeviceGroupCount; ++i) {
    if (i < groups.size()) groups[i].pNext = v.pPhysicalDeviceGroupProperties[i].pNext;
  }
  v.result =
      GiveList<VkPhysicalDeviceGroupProperties>(groups, v.pPhysicalDeviceGroupCount, v.pPhysicalDeviceGroupProperties);
}

void EnumerateDeviceExtensionProperties(Session& session, const vk::DispatchTable& driver,
                                        wire::EnumerateDeviceExtensionPropertiesArgs& v) {
  const std::vector<VkExtensionProperties> extensions =
      Offered(ExtensionsOf(driver, v.physicalDevice), session.same_kernel());
  v.result = GiveList<VkExtensionProperties>(extensions, v.pPropertyCount, v.pProperties);
}

void GetPhysicalDeviceProperties(Session&, const vk::DispatchTable& driver, wire::GetPhysicalDevicePropertiesArgs& v) {
  driver.GetPhysicalDeviceProperties(v.physicalDevice, v.pProperties);
  v.pProperties->apiVersion = std::min(v.pProperties->apiVersion, static_cast<uint32_t>(VK_HEADER_VERSION_COMPLETE));
}

void GetPhysicalDeviceProperties2(Session&, const vk::DispatchTable& driver,
                                  wire::GetPhysicalDeviceProperties2Args& v) {
  driver.GetPhysicalDeviceProperties2(v.physicalDevice, v.pProperties);
  uint32_t& version = v.pProperties->properties.apiVersion;
  version = std::min(version, static_cast<uint32_t>(VK_HEADER_VERSION_COMPLETE));
}

void CreateDevice(Session& session, const vk::DispatchTable& driver, wire::CreateDeviceArgs& v) {
  VkDeviceCreateInfo info = *v.pCreateInfo;
  std::vector<const char*> extensions;
  const std::span<const char* const> wanted(info.ppEnabledExtensionNames, info.enabledExtensionCount);
  if (!ChooseExtensions(wanted, session.same_kernel(), &extensions)) {
    v.result = VK_ERROR_EXTENSION_NOT_PRESENT;
    return;
  }
  info.pNext = WithoutCallbacks(info.pNext);
  const bool timeline = SupportsTimelines(driver, v.physicalDevice);
  VkPhysicalDeviceTimelineSemaphoreFeatures own;
  if (timeline) {
    EnableTimelines(&info, &own);
    const bool core = VersionOf(driver, v.physicalDevice) >= VK_API_VERSION_1_2;
    if (!core && !Has(extensions, VK_KHR_TIMELINE_SEMAPHORE_EXTENSION_NAME)) {
      extensions.push_back(VK_KHR_TIMELINE_SEMAPHORE_EXTENSION_NAME);
    }
  }
  const bool shares = session.shares_memory() && CanImport(driver, v.physicalDevice);
  if (shares && !Has(extensions, VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME)) {
    extensions.push_back(VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME);
  }
  info.enabledLayerCount = 0;
  info.ppEnabledLayerNames = nullptr;
  info.enabledExtensionCount = static_cast<uint32_t>(extensions.size());
  info.ppEnabledExtensionNames = extensions.data();
  if (!session.TakeDeviceSlot()) {
    v.result = VK_ERROR_TOO_MANY_OBJECTS;
    return;
  }
  v.result = driver.CreateDevice(v.physicalDevice, &info, nullptr, v.pDevice);
  if (v.result != VK_SUCCESS) return session.ReturnDeviceSlot();
  const Device::Parts parts{.handle = *v.pDevice,
                            .physical_device = v.physicalDevice,
                            .id = v.pDevice_ids[0],
                            .instance = &session.instance(),
                            .timeline = timeline,
                            .enabled = NeedsMet(wanted, session.instance().enabled),
                            .queues = QueuesOf(driver, v.physicalDevice, info),
                            .events = &session.events(),
                            .memories = &session.memories(),
                            .shelf = session.pipeline_shelf()};
  const PFN_vkGetDeviceProcAddr get = session.driver().GetDeviceProcAddr(session.instance().handle);
  Device* device = session.AddDevice(std::make_unique<Device>(parts, get));
  if (shares) device->ShareMemory(&session.driver().shared_budget());
  if (session.must_share() && device->importer() != nullptr) device->importer()->ShareWhateverIsMade();
  session.handles().set_new_context(&device->context());
}

void DestroyDevice(Session& session, const vk::DispatchTable&, wire::DestroyDeviceArgs& v) {
  if (v.device != VK_NULL_HANDLE) session.EndDevice(&session.device());
}

void GetDeviceQueue(Session&, const vk::DispatchTable& driver, wire::GetDeviceQueueArgs& v) {
  driver.GetDeviceQueue(v.device, v.queueFamilyIndex, v.queueIndex, v.pQueue);
}

void GetDeviceQueue2(Session&, const vk::DispatchTable& driver, wire::GetDeviceQueue2Args& v) {
  driver.GetDeviceQueue2(v.device, v.pQueueInfo, v.pQueue);
}

}  // namespace vesper::server::overrides
