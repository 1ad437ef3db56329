#include "client/session/physical_device.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "client/base/limits.h"
#include "client/session/call.h"
#include "client/session/session.h"
#include "generated/vk/extensions.h"
#include "generated/wire/device.h"
#include "generated/wire/instance.h"

namespace vesper::client {

namespace {

// The question and room for its answer. `use` asks it, now or ahead: the same bytes either way.
template <typename Use>
auto WithExtensions(PhysicalDevice* device, std::vector<VkExtensionProperties>* extensions, uint32_t* count, Use use) {
  *count = limits::kMaxExtensions;
  extensions->resize(*count);
  wire::EnumerateDeviceExtensionPropertiesArgs args{};
  args.physicalDevice = ToHandle<VkPhysicalDevice>(device);
  args.pPropertyCount = count;
  args.pProperties = extensions->data();
  return use(Command::kEnumerateDeviceExtensionProperties, args);
}

VkResult FetchExtensions(PhysicalDevice* device) noexcept {
  try {
    uint32_t count = 0;
    return WithExtensions(device, &device->extensions, &count, [&](Command command, auto& args) {
      Call call(device, command);
      const VkResult result = call.AskCached(&args) ? args.result : call.failure();
      device->extensions.resize(result < 0 ? 0 : count);
      if (result >= 0) KeepOffered(&device->extensions, true);
      return result;
    });
  } catch (const std::bad_alloc&) {
    device->extensions.clear();
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
}

}  // namespace

void AskForExtensions(PhysicalDevice* device, const std::shared_ptr<Trip>& trip) {
  uint32_t count = 0;
  std::vector<VkExtensionProperties> room;
  WithExtensions(device, &room, &count,
                 [&](Command command, auto& args) { device->session->AskAhead(trip, command, &args); });
}

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
