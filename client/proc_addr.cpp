#include "client/proc_addr.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <memory>

#include "client/object.h"
#include "client/physical_device.h"
#include "client/session.h"
#include "generated/client/name_table.h"

namespace vesper::client {
namespace {

// Not Vulkan: the session's statistics as JSON, for tests and tools in the application's process. Returns the text's length;
// at most `capacity` bytes, terminated, are written.
VKAPI_ATTR size_t VKAPI_CALL GetStatistics(VkDevice device, char* text, size_t capacity) noexcept {
  try {
    const std::string json = ToJson(SessionOf(device).statistics());
    if (capacity != 0) {
      const size_t length = std::min(json.size(), capacity - 1);
      std::memcpy(text, json.data(), length);
      text[length] = '\0';
    }
    return json.size();
  } catch (const std::exception&) {
    return 0;
  }
}

bool EnabledBy(const Enable& enable, const std::vector<std::string>& extensions) {
  return std::any_of(enable.extensions, enable.extensions + enable.extension_count,
                     [&](const char* name) { return Contains(extensions, name); });
}

bool InCore(const Enable& enable, uint32_t version) {
  return enable.core_version != 0 && enable.core_version <= version;
}

// By the version or an extension of any physical device.
bool OfferedByADevice(const Instance& instance, const NameEntry& entry) {
  for (const auto& device : instance.physical_devices) {
    if (entry.level == Level::kDevice && InCore(entry.enable, device->api_version)) return true;
    const std::vector<VkExtensionProperties>* extensions = nullptr;
    if (entry.enable.extension_count == 0 || DeviceExtensions(device.get(), &extensions) < 0) continue;
    for (uint32_t i = 0; i < entry.enable.extension_count; ++i) {
      if (Contains(*extensions, entry.enable.extensions[i])) return true;
    }
  }
  return false;
}

bool Offered(const Instance& instance, const NameEntry& entry) {
  if (!instance.session->Decodes(entry.command)) return false;
  if (entry.level != Level::kDevice && InCore(entry.enable, instance.server_version)) return true;
  return EnabledBy(entry.enable, instance.extensions) || OfferedByADevice(instance, entry);
}

}  // namespace

PFN_vkVoidFunction InstanceProcAddr(VkInstance instance, const char* name) noexcept {
  try {
    const NameEntry* entry = FindEntryPoint(name);
    if (entry == nullptr) return nullptr;
    if (entry->level == Level::kGlobal || std::strcmp(name, "vkGetInstanceProcAddr") == 0) return entry->function;
    if (instance == VK_NULL_HANDLE) return nullptr;
    return Offered(*FromHandle<Instance>(instance), *entry) ? entry->function : nullptr;
  } catch (const std::exception&) {
    return nullptr;
  }
}

PFN_vkVoidFunction DeviceProcAddr(VkDevice handle, const char* name) noexcept {
  if (std::strcmp(name, "vesperGetStatistics") == 0) return reinterpret_cast<PFN_vkVoidFunction>(&GetStatistics);
  const NameEntry* entry = FindEntryPoint(name);
  if (entry == nullptr || entry->level != Level::kDevice) return nullptr;
  const Device& device = *FromHandle<Device>(handle);
  if (!device.session->Decodes(entry->command)) return nullptr;
  const bool offered = InCore(entry->enable, device.physical_device->api_version) ||
                       EnabledBy(entry->enable, device.extensions) ||
                       EnabledBy(entry->enable, device.physical_device->instance->extensions);
  return offered ? entry->function : nullptr;
}

PFN_vkVoidFunction PhysicalDeviceProcAddr(VkInstance instance, const char* name) noexcept {
  const NameEntry* entry = FindEntryPoint(name);
  return entry != nullptr && entry->physical_device ? InstanceProcAddr(instance, name) : nullptr;
}

}  // namespace vesper::client
