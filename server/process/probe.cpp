#include "server/process/probe.h"

#include <fmt/core.h>

#include <cstdio>

#include "server/base/log.h"

namespace vesper::server {
namespace {

std::string Version(uint32_t version) {
  return fmt::format("{}.{}.{}", VK_API_VERSION_MAJOR(version), VK_API_VERSION_MINOR(version),
                     VK_API_VERSION_PATCH(version));
}

const char* TypeName(VkPhysicalDeviceType type) {
  switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
      return "discrete";
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
      return "integrated";
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
      return "virtual";
    case VK_PHYSICAL_DEVICE_TYPE_CPU:
      return "CPU";
    default:
      return "other";
  }
}

void PrintExtensions(const char* whose, std::vector<VkExtensionProperties> all) {
  std::vector<std::string> hidden;
  const size_t total = all.size();
  Offered(std::move(all), true, &hidden);
  fmt::print("  {} extensions: {} offered, {} hidden", whose, total - hidden.size(), hidden.size());
  for (size_t i = 0; i < hidden.size(); ++i) fmt::print("{}{}", i == 0 ? ": " : " ", hidden[i]);
  fmt::print("\n");
}

void PrintGpu(const vk::DispatchTable& table, size_t index, VkPhysicalDevice device) {
  VkPhysicalDeviceDriverProperties driver{};
  driver.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES;
  VkPhysicalDeviceProperties2 properties{};
  properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
  table.GetPhysicalDeviceProperties(device, &properties.properties);
  if (properties.properties.apiVersion >= VK_API_VERSION_1_2) {
    properties.pNext = &driver;
    table.GetPhysicalDeviceProperties2(device, &properties);
  }
  const VkPhysicalDeviceProperties& p = properties.properties;
  fmt::print("GPU {}: {} ({})\n", index, p.deviceName, TypeName(p.deviceType));
  fmt::print("  driver: {} {}\n", driver.driverName, driver.driverInfo);
  fmt::print("  API version: {}\n", Version(std::min<uint32_t>(p.apiVersion, VK_HEADER_VERSION_COMPLETE)));
  uint32_t count = 0;
  table.EnumerateDeviceExtensionProperties(device, nullptr, &count, nullptr);
  std::vector<VkExtensionProperties> extensions(count);
  table.EnumerateDeviceExtensionProperties(device, nullptr, &count, extensions.data());
  PrintExtensions("device", std::move(extensions));
}

}  // namespace

int RunProbe(const ServerOptions& options) {
  PrepareDriverEnvironment();
  std::string error;
  const std::unique_ptr<Driver> driver = Driver::Load(options.driver(), &error);
  if (driver == nullptr) {
    Log(LogLevel::kError, "{}", error);
    return 1;
  }
  uint32_t count = 0;
  driver->global().EnumerateInstanceExtensionProperties(nullptr, &count, nullptr);
  std::vector<VkExtensionProperties> extensions(count);
  driver->global().EnumerateInstanceExtensionProperties(nullptr, &count, extensions.data());
  VkInstanceCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
  std::unique_ptr<Instance> instance;
  const VkResult result = driver->CreateInstance(info, &instance);
  if (result != VK_SUCCESS) {
    Log(LogLevel::kError, "vkCreateInstance failed with {}: check the system's Vulkan drivers with vulkaninfo",
        static_cast<int>(result));
    return 1;
  }
  const size_t gpus = instance->physical_devices.size();
  for (size_t i = 0; i < gpus; ++i) PrintGpu(instance->context.table, i, instance->physical_devices[i]);
  if (gpus != 0) fmt::print("all GPUs:\n");
  if (gpus != 0) PrintExtensions("instance", std::move(extensions));
  driver->DestroyInstance(instance.get());
  std::fflush(stdout);
  if (gpus != 0) return 0;
  if (options.gpu.empty()) {
    Log(LogLevel::kError,
        "no Vulkan GPU was found: install a driver (on Debian, for the CPU: apt install "
        "mesa-vulkan-drivers)");
  } else {
    Log(LogLevel::kError, "no GPU matches --gpu {}: start without --gpu to see them all", options.gpu);
  }
  return 1;
}

}  // namespace vesper::server
