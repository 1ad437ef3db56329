#include "tests/support/vulkan_context.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace vesper::test {

bool ValidationWanted() {
  const char* layers = std::getenv("VK_INSTANCE_LAYERS");
  return layers != nullptr && std::strstr(layers, kValidationLayer) != nullptr;
}

VkDebugUtilsMessengerCreateInfoEXT ValidationMessages::MessengerInfo(ValidationMessages* self) {
  VkDebugUtilsMessengerCreateInfoEXT info = {VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT};
  info.messageSeverity =
      VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT;
  info.messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_TYPE_PERFORMANCE_BIT_EXT;
  info.pfnUserCallback = &ValidationMessages::OnMessage;
  info.pUserData = self;
  return info;
}

VkBool32 ValidationMessages::OnMessage(VkDebugUtilsMessageSeverityFlagBitsEXT, VkDebugUtilsMessageTypeFlagsEXT,
                                       const VkDebugUtilsMessengerCallbackDataEXT* data, void* self) {
  static_cast<ValidationMessages*>(self)->count_.fetch_add(1);
  std::fprintf(stderr, "validation: %s\n", data->pMessage);
  return VK_FALSE;
}

CoreFeatures::CoreFeatures() {
  core.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
  v11.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES;
  v12.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES;
  v13.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES;
  core.pNext = &v11;
  v11.pNext = &v12;
  v12.pNext = &v13;
}

Context::Context(const ContextOptions& options) {
  CreateInstance(options);
  ChoosePhysicalDevice();
  CreateDevice(options);
}

uint32_t Context::Close() {
  if (device_ != VK_NULL_HANDLE) vkDestroyDevice(std::exchange(device_, nullptr), nullptr);
  if (messenger_ != VK_NULL_HANDLE) {
    InstanceFunction<PFN_vkDestroyDebugUtilsMessengerEXT>("vkDestroyDebugUtilsMessengerEXT")(
        instance_, std::exchange(messenger_, VK_NULL_HANDLE), nullptr);
  }
  if (instance_ != VK_NULL_HANDLE) vkDestroyInstance(std::exchange(instance_, nullptr), nullptr);
  return messages_.count();
}

void Context::CreateInstance(const ContextOptions& options) {
  VkApplicationInfo application = {VK_STRUCTURE_TYPE_APPLICATION_INFO};
  application.pApplicationName = options.application_name;
  application.apiVersion = VK_API_VERSION_1_3;
  VkInstanceCreateInfo info = {VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
  info.pApplicationInfo = &application;
  std::vector<const char*> extensions = options.instance_extensions;
  const char* layer = kValidationLayer;
  VkDebugUtilsMessengerCreateInfoEXT messenger = ValidationMessages::MessengerInfo(&messages_);
  if (ValidationWanted()) {
    // Named here as well, so that a missing layer is an error instead of a test that checks
    // nothing.
    info.enabledLayerCount = 1;
    info.ppEnabledLayerNames = &layer;
    extensions.push_back(VK_EXT_DEBUG_UTILS_EXTENSION_NAME);
    info.pNext = &messenger;
  }
  info.enabledExtensionCount = static_cast<uint32_t>(extensions.size());
  info.ppEnabledExtensionNames = extensions.data();
  VK_CHECK(vkCreateInstance(&info, nullptr, &instance_));
  if (!ValidationWanted()) return;
  VK_CHECK(InstanceFunction<PFN_vkCreateDebugUtilsMessengerEXT>("vkCreateDebugUtilsMessengerEXT")(
      instance_, &messenger, nullptr, &messenger_));
}

void Context::ChoosePhysicalDevice() {
  physical_device_ = ChooseDevice(instance_);
  vkGetPhysicalDeviceProperties(physical_device_, &properties_);
  if (properties_.apiVersion < VK_API_VERSION_1_3) {
    throw std::runtime_error("these tests need Vulkan 1.3, which the device does not offer");
  }
  vkGetPhysicalDeviceMemoryProperties(physical_device_, &memory_properties_);
  vkGetPhysicalDeviceFeatures2(physical_device_, &features_.core);

  uint32_t count = 0;
  vkGetPhysicalDeviceQueueFamilyProperties(physical_device_, &count, nullptr);
  std::vector<VkQueueFamilyProperties> families(count);
  vkGetPhysicalDeviceQueueFamilyProperties(physical_device_, &count, families.data());
  constexpr VkQueueFlags kWanted = VK_QUEUE_GRAPHICS_BIT | VK_QUEUE_COMPUTE_BIT;
  queue_family_ = 0;
  while (queue_family_ < count && (families[queue_family_].queueFlags & kWanted) != kWanted) {
    ++queue_family_;
  }
  if (queue_family_ == count) throw std::runtime_error("no queue family with graphics and compute");
  family_properties_ = families[queue_family_];
}

void Context::CreateDevice(const ContextOptions& options) {
  CoreFeatures enabled;
  vkGetPhysicalDeviceFeatures2(physical_device_, &enabled.core);
  enabled.core.features.robustBufferAccess = VK_FALSE;
  enabled.v11.protectedMemory = VK_FALSE;
  enabled.v12.bufferDeviceAddressCaptureReplay = VK_FALSE;
  enabled.v12.bufferDeviceAddressMultiDevice = VK_FALSE;
  enabled.v13.robustImageAccess = VK_FALSE;
  enabled.v13.pNext = options.device_next;

  const float priority = 1.0f;
  VkDeviceQueueCreateInfo queues[2] = {{VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO},
                                       {VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO}};
  queues[0].queueFamilyIndex = queue_family_;
  queues[1].queueFamilyIndex = options.other_family.value_or(0);
  queues[0].queueCount = queues[1].queueCount = 1;
  queues[0].pQueuePriorities = queues[1].pQueuePriorities = &priority;
  VkDeviceCreateInfo info = {VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO};
  info.pNext = &enabled.core;
  info.queueCreateInfoCount = options.other_family ? 2 : 1;
  info.pQueueCreateInfos = queues;
  info.enabledExtensionCount = static_cast<uint32_t>(options.device_extensions.size());
  info.ppEnabledExtensionNames = options.device_extensions.data();
  VK_CHECK(vkCreateDevice(physical_device_, &info, nullptr, &device_));
  vkGetDeviceQueue(device_, queue_family_, 0, &queue_);
  if (options.other_family) vkGetDeviceQueue(device_, *options.other_family, 0, &other_queue_);
}

uint32_t Context::FindMemoryType(uint32_t type_bits, VkMemoryPropertyFlags flags) const {
  for (uint32_t i = 0; i < memory_properties_.memoryTypeCount; ++i) {
    const VkMemoryPropertyFlags offered = memory_properties_.memoryTypes[i].propertyFlags;
    if ((type_bits >> i & 1) != 0 && (offered & flags) == flags) return i;
  }
  return UINT32_MAX;
}

namespace {

int Score(VkPhysicalDevice device) {
  VkPhysicalDeviceProperties properties;
  vkGetPhysicalDeviceProperties(device, &properties);
  switch (properties.deviceType) {
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

}  // namespace

VkPhysicalDevice ChooseDevice(VkInstance instance) {
  uint32_t count = 0;
  VK_CHECK(vkEnumeratePhysicalDevices(instance, &count, nullptr));
  std::vector<VkPhysicalDevice> devices(count);
  VK_CHECK(vkEnumeratePhysicalDevices(instance, &count, devices.data()));
  if (devices.empty()) throw std::runtime_error("no Vulkan device");
  if (const char* number = std::getenv("VULKAN_TEST_DEVICE")) {
    return devices.at(static_cast<size_t>(std::strtoul(number, nullptr, 10)));
  }
  VkPhysicalDevice best = devices[0];
  for (VkPhysicalDevice device : devices) {
    if (Score(device) > Score(best)) best = device;
  }
  return best;
}

bool HasDeviceExtension(VkPhysicalDevice device, const char* name) {
  uint32_t count = 0;
  VK_CHECK(vkEnumerateDeviceExtensionProperties(device, nullptr, &count, nullptr));
  std::vector<VkExtensionProperties> extensions(count);
  VK_CHECK(vkEnumerateDeviceExtensionProperties(device, nullptr, &count, extensions.data()));
  for (const VkExtensionProperties& extension : extensions) {
    if (std::strcmp(extension.extensionName, name) == 0) return true;
  }
  return false;
}

}  // namespace vesper::test
