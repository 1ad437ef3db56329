#include "client/physical_device.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "client/call.h"
#include "client/session.h"
#include "generated/client/entry_points.h"
#include "generated/vk/extensions.h"
#include "generated/wire/device.h"
#include "generated/wire/instance.h"

namespace vesper::client {
namespace {

constexpr uint32_t kMaxPhysicalDevices = 32;
constexpr uint32_t kMaxExtensions = 1024;

}  // namespace

VkResult FetchPhysicalDevices(Instance* instance) {
  Session& session = *instance->session;
  std::array<uint64_t, kMaxPhysicalDevices> ids;
  if (!session.ids().Mint(HandleType::kPhysicalDevice, ids)) return VK_ERROR_OUT_OF_HOST_MEMORY;
  std::array<VkPhysicalDevice, kMaxPhysicalDevices> handles;
  for (uint32_t i = 0; i < kMaxPhysicalDevices; ++i) {
    instance->physical_devices.push_back(std::make_unique<PhysicalDevice>(instance, ids[i]));
    handles[i] = ToHandle<VkPhysicalDevice>(instance->physical_devices.back().get());
  }
  uint32_t count = kMaxPhysicalDevices;
  wire::EnumeratePhysicalDevicesArgs args{};
  args.instance = ToHandle<VkInstance>(instance);
  args.pPhysicalDeviceCount = &count;
  args.pPhysicalDevices = handles.data();
  Call call(session, Command::kEnumeratePhysicalDevices);
  if (!call.Ask(&args)) return call.failure();
  if (args.result < 0) return args.result;
  count = std::min(count, kMaxPhysicalDevices);
  instance->physical_devices.resize(count);
  for (uint32_t i = count; i < kMaxPhysicalDevices; ++i) session.ids().Forget(ids[i]);
  for (const auto& device : instance->physical_devices) {
    VkPhysicalDeviceProperties properties{};
    entry::GetPhysicalDeviceProperties(ToHandle<VkPhysicalDevice>(device.get()), &properties);
    device->api_version = std::min(properties.apiVersion, kRegistryApiVersion);
  }
  return VK_SUCCESS;
}

VkResult DeviceExtensions(PhysicalDevice* device, const std::vector<VkExtensionProperties>** extensions) {
  std::call_once(device->fetch_extensions, [device] {
    uint32_t count = kMaxExtensions;
    device->extensions.resize(count);
    wire::EnumerateDeviceExtensionPropertiesArgs args{};
    args.physicalDevice = ToHandle<VkPhysicalDevice>(device);
    args.pPropertyCount = &count;
    args.pProperties = device->extensions.data();
    Call call(device, Command::kEnumerateDeviceExtensionProperties);
    device->extensions_result = call.Ask(&args) ? args.result : call.failure();
    device->extensions.resize(device->extensions_result < 0 ? 0 : count);
    if (device->extensions_result >= 0) KeepOffered(&device->extensions, true);
  });
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
