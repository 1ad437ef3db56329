#include "server/device/driver.h"

#include <dlfcn.h>
#include <malloc.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "generated/vk/extensions.h"
#include "server/base/chain.h"
#include "server/base/limits.h"
#include "server/base/log.h"

namespace vesper::server {
namespace {

constexpr const char* kValidationLayer = "VK_LAYER_KHRONOS_validation";

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

// Of a client's kernel, the same as this or another.
ExtensionSide SideFor(bool same_kernel, const char* name) {
  const Extension* extension = FindExtension(name);
  if (extension == nullptr) return ExtensionSide::kUnknown;
  return extension->same_kernel && !same_kernel ? ExtensionSide::kRefused : extension->side;
}

}  // namespace

bool ChooseExtensions(std::span<const char* const> wanted, bool same_kernel, std::vector<const char*>* chosen) {
  for (const char* name : wanted) {
    const ExtensionSide side = SideFor(same_kernel, name);
    if (side == ExtensionSide::kRemote) chosen->push_back(name);
    if (side == ExtensionSide::kRemote || side == ExtensionSide::kLocal) continue;
    Log(LogLevel::kWarning, "a client asked for {}, which is not offered", name);
    return false;
  }
  return true;
}

std::vector<VkExtensionProperties> Offered(std::vector<VkExtensionProperties> extensions, bool same_kernel,
                                           std::vector<std::string>* hidden) {
  std::erase_if(extensions, [&](const VkExtensionProperties& extension) {
    const ExtensionSide side = SideFor(same_kernel, extension.extensionName);
    const bool is_hidden = side != ExtensionSide::kRemote && side != ExtensionSide::kLocal;
    if (is_hidden && hidden != nullptr) hidden->emplace_back(extension.extensionName);
    return side != ExtensionSide::kRemote;
  });
  return extensions;
}

void PrepareDriverEnvironment() {
  setenv("VESPER_WORKER", "1", 1);
  setenv("VK_LOADER_LAYERS_DISABLE", "~implicit~", 0);
  // Layers that loaders before 1.3.234 would still take in.
  for (const char* name :
       {"NODEVICE_SELECT", "DISABLE_GAMESCOPE_WSI", "DISABLE_MANGOHUD", "DISABLE_VKBASALT",
        "DISABLE_LAYER_NV_OPTIMUS_1", "DISABLE_VULKAN_OBS_CAPTURE", "DISABLE_VK_LAYER_VALVE_steam_overlay_1"}) {
    setenv(name, "1", 0);
  }
  // A driver on the CPU may take device memory from malloc. With the C library's sliding thresholds large blocks would
  // be what was freed before, to be made zeros again (server/overrides/memory.cpp); fixed, they are fresh pages.
  mallopt(M_MMAP_THRESHOLD, limits::kMallocOwnPages);
  mallopt(M_TRIM_THRESHOLD, limits::kMallocOwnPages);
}

std::unique_ptr<Driver> Driver::Load(const DriverOptions& options, std::string* error) {
  void* library = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    *error = std::string("the Vulkan loader is missing (") + dlerror() + "); on Debian: apt install libvulkan1";
    return nullptr;
  }
  const auto get_proc_addr = reinterpret_cast<PFN_vkGetInstanceProcAddr>(dlsym(library, "vkGetInstanceProcAddr"));
  if (get_proc_addr == nullptr) {
    *error = "libvulkan.so.1 is no Vulkan loader; reinstall it";
    return nullptr;
  }
  return Of(get_proc_addr, options);
}

std::unique_ptr<Driver> Driver::Of(PFN_vkGetInstanceProcAddr get_proc_addr, const DriverOptions& options) {
  std::unique_ptr<Driver> driver(new Driver(options));
  driver->get_proc_addr_ = get_proc_addr;
  vk::LoadGlobal(&driver->global_.table, driver->get_proc_addr_);
  uint32_t version = VK_API_VERSION_1_0;
  if (driver->global().EnumerateInstanceVersion != nullptr) driver->global().EnumerateInstanceVersion(&version);
  driver->api_version_ = std::min(version, static_cast<uint32_t>(VK_HEADER_VERSION_COMPLETE));
  return driver;
}

PFN_vkGetDeviceProcAddr Driver::GetDeviceProcAddr(VkInstance instance) const {
  return reinterpret_cast<PFN_vkGetDeviceProcAddr>(get_proc_addr_(instance, "vkGetDeviceProcAddr"));
}

VkResult Driver::CreateInstance(const VkInstanceCreateInfo& wanted, std::unique_ptr<Instance>* instance) {
  VkInstanceCreateInfo info = wanted;
  std::vector<const char*> extensions;
  // Those that want the client here are all of devices.
  if (!ChooseExtensions({wanted.ppEnabledExtensionNames, wanted.enabledExtensionCount}, true, &extensions))
    return VK_ERROR_EXTENSION_NOT_PRESENT;
  const std::vector<const char*> layers(options_.validation ? 1 : 0, kValidationLayer);
  if (options_.validation) {
    const auto same = [](const char* name) { return std::strcmp(name, VK_EXT_DEBUG_UTILS_EXTENSION_NAME) == 0; };
    if (std::none_of(extensions.begin(), extensions.end(), same)) {
      extensions.push_back(VK_EXT_DEBUG_UTILS_EXTENSION_NAME);
    }
  }
  VkApplicationInfo application{};
  application.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO;
  if (wanted.pApplicationInfo != nullptr) application = *wanted.pApplicationInfo;
  // The server itself uses what 1.2 brought, wherever the driver has it.
  application.apiVersion = std::min(std::max(application.apiVersion, VK_API_VERSION_1_2), api_version_);
  info.pApplicationInfo = &application;
  info.pNext = WithoutCallbacks(wanted.pNext);
  info.enabledLayerCount = static_cast<uint32_t>(layers.size());
  info.ppEnabledLayerNames = layers.data();
  info.enabledExtensionCount = static_cast<uint32_t>(extensions.size());
  info.ppEnabledExtensionNames = extensions.data();
  auto made = std::make_unique<Instance>();
  const VkResult result = global().CreateInstance(&info, nullptr, &made->handle);
  if (result == VK_ERROR_LAYER_NOT_PRESENT && options_.validation) {
    Log(LogLevel::kError, "--validation needs {}; on Debian: apt install vulkan-validationlayers", kValidationLayer);
  }
  if (result != VK_SUCCESS) return result;
  made->context.table = global();
  made->context.instance = made.get();
  vk::LoadInstance(&made->context.table, made->handle, get_proc_addr_);
  FindPhysicalDevices(made.get());
  *instance = std::move(made);
  return VK_SUCCESS;
}

void Driver::DestroyInstance(Instance* instance) { instance->context.table.DestroyInstance(instance->handle, nullptr); }

void Driver::Suspend(Instance* instance) {
  DestroyInstance(instance);
  instance->handle = VK_NULL_HANDLE;
}

VkResult Driver::Resume(Instance* instance) {
  std::unique_ptr<Instance> made;
  const VkResult result = CreateInstance(*instance->wanted, &made);
  if (result != VK_SUCCESS) return result;
  if (made->physical_devices.size() != instance->physical_devices.size()) {
    DestroyInstance(made.get());
    return VK_ERROR_INITIALIZATION_FAILED;
  }
  instance->handle = made->handle;
  instance->context.table = made->context.table;
  instance->physical_devices = std::move(made->physical_devices);
  return VK_SUCCESS;
}

void Driver::KeepLoaded() {
  if (bare_ != VK_NULL_HANDLE) return;
  VkInstanceCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
  if (global().CreateInstance(&info, nullptr, &bare_) != VK_SUCCESS) {
    bare_ = VK_NULL_HANDLE;
    return;
  }
  vk::DispatchTable table{};
  vk::LoadInstance(&table, bare_, get_proc_addr_);
  uint32_t count = 0;
  table.EnumeratePhysicalDevices(bare_, &count, nullptr);  // drivers open their devices late
}

void Driver::LetGo() {
  const VkInstance bare = std::exchange(bare_, VK_NULL_HANDLE);
  if (bare == VK_NULL_HANDLE) return;
  vk::DispatchTable table{};
  vk::LoadInstance(&table, bare, get_proc_addr_);
  table.DestroyInstance(bare, nullptr);
}

VkResult Driver::FindPhysicalDevices(Instance* instance) {
  const vk::DispatchTable& table = instance->context.table;
  uint32_t count = 0;
  VkResult result = table.EnumeratePhysicalDevices(instance->handle, &count, nullptr);
  if (result != VK_SUCCESS) return result;
  std::vector<VkPhysicalDevice> devices(count);
  result = table.EnumeratePhysicalDevices(instance->handle, &count, devices.data());
  if (result < 0) return result;
  devices.resize(count);
  const auto properties_of = [&](VkPhysicalDevice device) {
    VkPhysicalDeviceProperties properties;
    table.GetPhysicalDeviceProperties(device, &properties);
    return properties;
  };
  std::stable_sort(devices.begin(), devices.end(), [&](VkPhysicalDevice a, VkPhysicalDevice b) {
    return ScoreOf(properties_of(a).deviceType) > ScoreOf(properties_of(b).deviceType);
  });
  std::vector<std::string> names;
  for (const VkPhysicalDevice device : devices) names.emplace_back(properties_of(device).deviceName);
  for (const size_t index : MatchGpus(names, options_.gpu)) instance->physical_devices.push_back(devices[index]);
  return VK_SUCCESS;
}

int ScoreOf(VkPhysicalDeviceType type) {
  switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
      return 4;
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
      return 3;
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
      return 2;
    case VK_PHYSICAL_DEVICE_TYPE_CPU:
      return 1;
    default:
      return 0;
  }
}

std::vector<size_t> MatchGpus(const std::vector<std::string>& names, const std::string& wanted) {
  std::vector<size_t> matches;
  size_t index = 0;
  const auto [end, error] = std::from_chars(wanted.data(), wanted.data() + wanted.size(), index);
  const bool is_index = !wanted.empty() && error == std::errc() && end == wanted.data() + wanted.size();
  for (size_t i = 0; i < names.size(); ++i) {
    const bool match = is_index ? i == index : Lower(names[i]).find(Lower(wanted)) != std::string::npos;
    if (wanted.empty() || match) matches.push_back(i);
  }
  return matches;
}

}  // namespace vesper::server
