#include "client/session/physical_device.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <new>

#include "client/base/limits.h"
#include "client/session/call.h"
#include "client/session/session.h"
#include "generated/client/entry_points.h"
#include "generated/vk/extensions.h"
#include "generated/wire/device.h"
#include "generated/wire/instance.h"

namespace vesper::client {

VkResult FetchPhysicalDevices(Instance* instance) {
  Session& session = *instance->session;
  std::array<uint64_t, limits::kMaxPhysicalDevices> ids;
  if (!session.ids().Mint(HandleType::kPhysicalDevice, ids)) return VK_ERROR_OUT_OF_HOST_MEMORY;
  std::array<VkPhysicalDevice, limits::kMaxPhysicalDevices> handles;
  for (uint32_t i = 0; i < limits::kMaxPhysicalDevices; ++i) {
    instance->physical_devices.push_back(std::make_unique<PhysicalDevice>(instance, ids[i]));
    handles[i] = ToHandle<VkPhysicalDevice>(instance->physical_devices.back().get());
  }
  uint32_t count = limits::kMaxPhysicalDevices;
  wire::EnumeratePhysicalDevicesArgs args{};
  args.instance = ToHandle<VkInstance>(instance);
  args.pPhysicalDeviceCount = &count;
  args.pPhysicalDevices = handles.data();
  Call call(session, Command::kEnumeratePhysicalDevices);
  if (!call.Ask(&args)) return call.failure();
  if (args.result < 0) return args.result;
  count = std::min(count, limits::kMaxPhysicalDevices);
  instance->physical_devices.resize(count);
  for (uint32_t i = count; i < limits::kMaxPhysicalDevices; ++i) session.ids().Forget(ids[i]);
  for (const auto& device : instance->physical_devices) {
    VkPhysicalDeviceProperties properties{};
    entry::GetPhysicalDeviceProperties(ToHandle<VkPhysicalDevice>(device.get()), &properties);
    device->api_version = std::min(properties.apiVersion, kRegistryApiVersion);
    // A physical device without its version or its extensions is none that a loader can use.
    const std::vector<VkExtensionProperties>* extensions = nullptr;
    const VkResult listed = DeviceExtensions(device.get(), &extensions);
    if (listed < 0) return listed;
    if (device->api_version == 0) return VK_ERROR_INITIALIZATION_FAILED;
  }
  return session.lost() ? VK_ERROR_INITIALIZATION_FAILED : VK_SUCCESS;
}

namespace {

VkResult FetchExtensions(PhysicalDevice* device) noexcept {
  try {
    uint32_t count = limits::kMaxExtensions;
    device->extensions.resize(count);
    wire::EnumerateDeviceExtensionPropertiesArgs args{};
    args.physicalDevice = ToHandle<VkPhysicalDevice>(device);
    args.pPropertyCount = &count;
    args.pProperties = device->extensions.data();
    Call call(device, Command::kEnumerateDeviceExtensionProperties);
    const VkResult result = call.Ask(&args) ? args.result : call.failure();
    device->extensions.resize(result < 0 ? 0 : count);
    if (result >= 0) KeepOffered(&device->extensions, true);
    return result;
  } catch (const std::bad_alloc&) {
    device->extensions.clear();
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
}

}  // namespace

VkResult DeviceExtensions(PhysicalDevice* device, const std::vector<VkExtensionProperties>** extensions) {
  // Nothing may be thrown through call_once(): the C library between cannot unwind when memory is exhausted.
  std::call_once(device->fetch_extensions, [device] { device->extensions_result = FetchExtensions(device); });
  *extensions = &device->extensions;
  return device->extensions_result;
}

void KeepOffered(std::vector<VkExtensionProperties>* extensions, bool device) {
  std::erase_if(*extensions, [](const VkExtensionProperties& extension) {
    return SideOf(extension.extensionName) != ExtensionSide::kRemote;
  });
  for (const Extension& known : Extensions()) {
    if (known.side != ExtensionSide::kLocal || known.device != device) continue;
    VkExtensionProperties own{};
    std::strncpy(own.extensionName, known.name, sizeof(own.extensionName) - 1);
    own.specVersion = known.revision;
    extensions->push_back(own);
  }
}

bool Contains(const std::vector<VkExtensionProperties>& extensions, const char* name) {
  return std::any_of(extensions.begin(), extensions.end(), [name](const VkExtensionProperties& extension) {
    return std::strcmp(extension.extensionName, name) == 0;
  });
}

bool Contains(const std::vector<std::string>& extensions, const char* name) {
  return std::find(extensions.begin(), extensions.end(), name) != extensions.end();
}

}  // namespace vesper::client
