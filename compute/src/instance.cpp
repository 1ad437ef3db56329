#include "vesper/compute/instance.h"

#include <algorithm>
#include <atomic>
#include <cctype>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "compute/src/check.h"
#include "compute/src/log.h"

namespace vesper::compute {
namespace {

constexpr char kValidationLayer[] = "VK_LAYER_KHRONOS_validation";

// VK_INSTANCE_LAYERS may bring the layer too.
bool LoaderValidates() {
  const char* const layers = std::getenv("VK_INSTANCE_LAYERS");
  return layers != nullptr && std::strstr(layers, kValidationLayer) != nullptr;
}

bool WantsValidation(const InstanceOptions& options) {
  if (LoaderValidates()) return true;
  if (options.validation.has_value()) return *options.validation;
  if (const char* const value = std::getenv("VESPER_COMPUTE_VALIDATION")) {
    return std::strcmp(value, "") != 0 && std::strcmp(value, "0") != 0;
  }
#ifdef NDEBUG
  return false;
#else
  return true;
#endif
}

bool HasLayer(const char* name) {
  uint32_t count = 0;
  vkEnumerateInstanceLayerProperties(&count, nullptr);
  std::vector<VkLayerProperties> layers(count);
  vkEnumerateInstanceLayerProperties(&count, layers.data());
  return std::any_of(layers.begin(), layers.end(),
                     [&](const auto& layer) { return std::strcmp(layer.layerName, name) == 0; });
}

bool HasExtension(const char* name, const char* layer) {
  uint32_t count = 0;
  vkEnumerateInstanceExtensionProperties(layer, &count, nullptr);
  std::vector<VkExtensionProperties> extensions(count);
  vkEnumerateInstanceExtensionProperties(layer, &count, extensions.data());
  return std::any_of(extensions.begin(), extensions.end(),
                     [&](const auto& extension) { return std::strcmp(extension.extensionName, name) == 0; });
}

bool HasTimelines(VkPhysicalDevice device) {
  VkPhysicalDeviceTimelineSemaphoreFeatures timeline{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES};
  VkPhysicalDeviceFeatures2 features{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, &timeline};
  vkGetPhysicalDeviceFeatures2(device, &features);
  return timeline.timelineSemaphore == VK_TRUE;
}

bool HasComputeQueue(VkPhysicalDevice device) {
  uint32_t count = 0;
  vkGetPhysicalDeviceQueueFamilyProperties(device, &count, nullptr);
  std::vector<VkQueueFamilyProperties> families(count);
  vkGetPhysicalDeviceQueueFamilyProperties(device, &count, families.data());
  return std::any_of(families.begin(), families.end(), [](const auto& family) {
    return (family.queueFlags & VK_QUEUE_COMPUTE_BIT) != 0 && family.queueCount != 0;
  });
}

DeviceDescription Describe(uint32_t index, VkPhysicalDevice handle) {
  VkPhysicalDeviceProperties properties;
  vkGetPhysicalDeviceProperties(handle, &properties);
  VkPhysicalDeviceMemoryProperties memory;
  vkGetPhysicalDeviceMemoryProperties(handle, &memory);
  DeviceDescription device;
  device.index = index;
  device.handle = handle;
  device.name = properties.deviceName;
  device.type = properties.deviceType;
  device.api_version = properties.apiVersion;
  for (uint32_t i = 0; i < memory.memoryHeapCount; ++i) {
    if ((memory.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) != 0) {
      device.device_memory += memory.memoryHeaps[i].size;
    }
  }
  device.has_compute_queue = HasComputeQueue(handle);
  device.has_timelines = properties.apiVersion >= VK_API_VERSION_1_2 && HasTimelines(handle);
  if (device.type == VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU) device.score = 1000;
  if (device.type == VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU) device.score = 100;
  device.score += device.device_memory >> 30;
  return device;
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower;
}

struct SharedInstance {
  std::mutex mutex;
  std::shared_ptr<Instance> instance;
};

// Never destroyed, so that objects of static storage may use it while the process ends.
SharedInstance& TheSharedInstance() {
  static SharedInstance* const shared = new SharedInstance;
  return *shared;
}

}  // namespace

struct Instance::Impl {
  ~Impl();
  void Create(const InstanceOptions& options);
  void CreateMessenger();
  void FindDevices();
  static VKAPI_ATTR VkBool32 VKAPI_CALL OnMessage(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
                                                  VkDebugUtilsMessageTypeFlagsEXT types,
                                                  const VkDebugUtilsMessengerCallbackDataEXT* data, void* self);
  VkDebugUtilsMessengerCreateInfoEXT MessengerInfo();

  VkInstance handle = VK_NULL_HANDLE;
  VkDebugUtilsMessengerEXT messenger = VK_NULL_HANDLE;
  bool validation = false;
  std::atomic<uint64_t> messages = 0;
  std::vector<DeviceDescription> devices;
};

Instance::Impl::~Impl() {
  if (messenger != VK_NULL_HANDLE) {
    const auto destroy = reinterpret_cast<PFN_vkDestroyDebugUtilsMessengerEXT>(
        vkGetInstanceProcAddr(handle, "vkDestroyDebugUtilsMessengerEXT"));
    destroy(handle, messenger, nullptr);
  }
  if (handle != VK_NULL_HANDLE) vkDestroyInstance(handle, nullptr);
}

VkBool32 Instance::Impl::OnMessage(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
                                   VkDebugUtilsMessageTypeFlagsEXT types,
                                   const VkDebugUtilsMessengerCallbackDataEXT* data, void* self) {
  const bool is_error = severity >= VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT;
  const bool from_layer =
      (types & (VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_TYPE_PERFORMANCE_BIT_EXT)) != 0;
  if (from_layer) ++static_cast<Impl*>(self)->messages;
  try {
    const char* const text = data->pMessage != nullptr ? data->pMessage : "";
    Log(is_error ? LogLevel::kError : LogLevel::kWarning, std::string(from_layer ? "validation: " : "vulkan: ") + text);
  } catch (...) {  // no exception may pass through the driver
  }
  return VK_FALSE;
}

VkDebugUtilsMessengerCreateInfoEXT Instance::Impl::MessengerInfo() {
  VkDebugUtilsMessengerCreateInfoEXT info{VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT};
  info.messageSeverity =
      VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT;
  info.messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_TYPE_PERFORMANCE_BIT_EXT;
  info.pfnUserCallback = OnMessage;
  info.pUserData = this;
  return info;
}

void Instance::Impl::Create(const InstanceOptions& options) {
  uint32_t version = VK_API_VERSION_1_0;
  Check(vkEnumerateInstanceVersion(&version), ErrorCode::NotAvailable, "asking the Vulkan loader");
  if (version < VK_API_VERSION_1_2) {
    throw Error(ErrorCode::NotAvailable, "finding a Vulkan loader of version 1.2", VK_ERROR_INCOMPATIBLE_DRIVER);
  }
  std::vector<const char*> layers, extensions;
  validation = WantsValidation(options);
  if (validation && !HasLayer(kValidationLayer)) {
    Log(LogLevel::kWarning, std::string(kValidationLayer).append(" is not installed"));
    validation = false;
  }
  const VkDebugUtilsMessengerCreateInfoEXT messenger_info = MessengerInfo();
  VkApplicationInfo application{VK_STRUCTURE_TYPE_APPLICATION_INFO};
  application.pApplicationName = options.application_name.c_str();
  application.pEngineName = "vesper-compute";
  application.apiVersion = std::min(version, VK_API_VERSION_1_3);
  VkInstanceCreateInfo info{VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
  info.pApplicationInfo = &application;
  if (validation) {
    layers.push_back(kValidationLayer);
    extensions.push_back(VK_EXT_DEBUG_UTILS_EXTENSION_NAME);
    info.pNext = &messenger_info;
  }
  if (HasExtension(VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME, nullptr)) {
    extensions.push_back(VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME);
    info.flags |= VK_INSTANCE_CREATE_ENUMERATE_PORTABILITY_BIT_KHR;
  }
  info.enabledLayerCount = static_cast<uint32_t>(layers.size());
  info.ppEnabledLayerNames = layers.data();
  info.enabledExtensionCount = static_cast<uint32_t>(extensions.size());
  info.ppEnabledExtensionNames = extensions.data();
  const VkResult result = vkCreateInstance(&info, nullptr, &handle);
  Check(result, result == VK_ERROR_INCOMPATIBLE_DRIVER ? ErrorCode::NotAvailable : ErrorCode::InitializationFailed,
        "creating a Vulkan instance");
  if (validation) CreateMessenger();
}

void Instance::Impl::CreateMessenger() {
  const auto create = reinterpret_cast<PFN_vkCreateDebugUtilsMessengerEXT>(
      vkGetInstanceProcAddr(handle, "vkCreateDebugUtilsMessengerEXT"));
  const VkDebugUtilsMessengerCreateInfoEXT info = MessengerInfo();
  Check(create(handle, &info, nullptr, &messenger), ErrorCode::InitializationFailed, "creating a debug messenger");
}

void Instance::Impl::FindDevices() {
  std::vector<VkPhysicalDevice> handles;
  uint32_t count = 0;
  VkResult result = VK_INCOMPLETE;
  while (result == VK_INCOMPLETE) {
    Check(vkEnumeratePhysicalDevices(handle, &count, nullptr), ErrorCode::InitializationFailed, "counting devices");
    handles.resize(count);
    result = vkEnumeratePhysicalDevices(handle, &count, handles.data());
  }
  Check(result, ErrorCode::InitializationFailed, "enumerating devices");
  for (uint32_t i = 0; i < count; ++i) devices.push_back(Describe(i, handles[i]));
}

Instance::Instance(const InstanceOptions& options) : impl_(std::make_unique<Impl>()) {
  impl_->Create(options);
  impl_->FindDevices();
}

Instance::~Instance() = default;

bool Instance::IsAvailable() noexcept {
  try {
    const auto instance = Shared();
    return std::any_of(instance->devices().begin(), instance->devices().end(),
                       [](const DeviceDescription& device) { return device.usable(); });
  } catch (...) {
    return false;
  }
}

std::shared_ptr<Instance> Instance::Shared() {
  SharedInstance& shared = TheSharedInstance();
  const std::lock_guard lock(shared.mutex);
  if (shared.instance == nullptr) shared.instance = std::make_shared<Instance>();
  return shared.instance;
}

void Instance::ReleaseShared() {
  std::shared_ptr<Instance> released;  // ends outside the lock
  const std::lock_guard lock(TheSharedInstance().mutex);
  released.swap(TheSharedInstance().instance);
}

VkInstance Instance::handle() const { return impl_->handle; }
bool Instance::validation() const { return impl_->validation; }
uint64_t Instance::validation_messages() const { return impl_->messages; }
const std::vector<DeviceDescription>& Instance::devices() const { return impl_->devices; }

const DeviceDescription& Instance::Select(std::string_view selector) const {
  if (selector.empty()) {
    const char* const wanted = std::getenv("VESPER_COMPUTE_DEVICE");
    if (wanted != nullptr) selector = wanted;
  }
  uint32_t index = 0;
  const char* const end = selector.data() + selector.size();
  const auto number = std::from_chars(selector.data(), end, index);
  const bool by_index = !selector.empty() && number.ec == std::errc() && number.ptr == end;
  const std::string name = Lower(selector);
  const DeviceDescription* best = nullptr;
  for (const DeviceDescription& device : devices()) {
    const bool matches = by_index ? device.index == index : Lower(device.name).find(name) != std::string::npos;
    if (!matches) continue;
    const auto rank = [](const DeviceDescription& d) { return std::pair(d.usable(), d.score); };
    if (best == nullptr || rank(device) > rank(*best)) best = &device;
  }
  if (best == nullptr) {
    throw Error(ErrorCode::NoDeviceFound, selector.empty() ? "choosing among no devices"
                                                           : "finding a device called \"" + std::string(selector) +
                                                                 "\" among " + std::to_string(devices().size()));
  }
  if (!best->usable()) {
    throw Error(ErrorCode::NoComputeQueue,
                "using " + best->name + ", which has no " +
                    (best->has_compute_queue ? "timeline semaphores of Vulkan 1.2" : "compute queue"));
  }
  return *best;
}

}  // namespace vesper::compute
