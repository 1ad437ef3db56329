#include "client/icd/proc_addr.h"

#include <algorithm>
#include <cstring>
#include <exception>

#include "client/base/statistics.h"
#include "client/objects/object.h"
#include "client/session/physical_device.h"
#include "client/session/session.h"
#include "generated/client/name_table.h"

namespace vesper::client {
namespace {

PFN_vkVoidFunction FunctionOf(const NameEntry& entry) noexcept {
  return CountsEntries() ? entry.functions.counting : entry.functions.plain;
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

bool OfferedByOne(const Instance& instance, const NameEntry& entry) {
  if (!instance.session->Decodes(entry.command)) return false;
  if (entry.level != Level::kDevice && InCore(entry.enable, instance.server_version)) return true;
  return EnabledBy(entry.enable, instance.extensions) || OfferedByADevice(instance, entry);
}

bool Offered(const Instance& instance, const NameEntry& entry) {
  bool offered = false;
  instance.ForEach([&](const Instance& each) { offered = offered || OfferedByOne(each, entry); });
  return offered;
}

}  // namespace

PFN_vkVoidFunction InstanceProcAddr(VkInstance instance, const char* name) noexcept {
  try {
    const NameEntry* entry = FindEntryPoint(name);
    if (entry == nullptr) return nullptr;
    if (entry->level == Level::kGlobal || std::strcmp(name, "vkGetInstanceProcAddr") == 0) return FunctionOf(*entry);
    if (instance == VK_NULL_HANDLE) return nullptr;
    return Offered(*FromHandle<Instance>(instance), *entry) ? FunctionOf(*entry) : nullptr;
  } catch (const std::exception&) {
    return nullptr;
  }
}

PFN_vkVoidFunction DeviceProcAddr(VkDevice handle, const char* name) noexcept {
  const NameEntry* entry = FindEntryPoint(name);
  if (entry == nullptr || entry->level != Level::kDevice) return nullptr;
  const Device& device = *FromHandle<Device>(handle);
  if (!device.session->Decodes(entry->command)) return nullptr;
  const bool offered = InCore(entry->enable, device.physical_device->api_version) ||
                       EnabledBy(entry->enable, device.extensions) ||
                       EnabledBy(entry->enable, device.physical_device->instance->extensions);
  return offered ? FunctionOf(*entry) : nullptr;
}

PFN_vkVoidFunction PhysicalDeviceProcAddr(VkInstance instance, const char* name) noexcept {
  const NameEntry* entry = FindEntryPoint(name);
  return entry != nullptr && entry->physical_device ? InstanceProcAddr(instance, name) : nullptr;
}

}  // namespace vesper::client
