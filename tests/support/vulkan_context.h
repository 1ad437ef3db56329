// An instance, a physical device, a device with every core feature it offers, and its first
// graphics queue: what each test starts from. Messages of the validation layer are counted when
// VK_INSTANCE_LAYERS asks for the layer.
#pragma once

#include <vulkan/vulkan.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/vulkan_check.h"

namespace vesper::test {

inline constexpr char kValidationLayer[] = "VK_LAYER_KHRONOS_validation";

// True when the environment (VK_INSTANCE_LAYERS) asks for the validation layer.
bool ValidationWanted();

// Counts warnings and errors of the validation layer and prints them. The callback may run on any
// thread.
class ValidationMessages {
 public:
  uint32_t count() const { return count_.load(); }
  static VkDebugUtilsMessengerCreateInfoEXT MessengerInfo(ValidationMessages* self);

 private:
  static VKAPI_ATTR VkBool32 VKAPI_CALL OnMessage(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
                                                  VkDebugUtilsMessageTypeFlagsEXT types,
                                                  const VkDebugUtilsMessengerCallbackDataEXT* data, void* self);
  std::atomic<uint32_t> count_ = 0;
};

// The core features of 1.0 to 1.3 in one chain that starts at `core`.
struct CoreFeatures {
  CoreFeatures();
  CoreFeatures(const CoreFeatures&) = delete;
  CoreFeatures& operator=(const CoreFeatures&) = delete;

  VkPhysicalDeviceFeatures2 core = {};
  VkPhysicalDeviceVulkan11Features v11 = {};
  VkPhysicalDeviceVulkan12Features v12 = {};
  VkPhysicalDeviceVulkan13Features v13 = {};
};

struct ContextOptions {
  const char* application_name = "vulkan test";
  std::vector<const char*> instance_extensions;
  std::vector<const char*> device_extensions;
  // Extension feature structs, chained behind the core features; must live until the constructor
  // returns.
  void* device_next = nullptr;
  // A queue of this family as well, other than that of graphics and compute.
  std::optional<uint32_t> other_family;
};

class Context {
 public:
  explicit Context(const ContextOptions& options = {});
  ~Context() { Close(); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  VkInstance instance() const { return instance_; }
  VkPhysicalDevice physical_device() const { return physical_device_; }
  VkDevice device() const { return device_; }
  VkQueue queue() const { return queue_; }
  uint32_t queue_family() const { return queue_family_; }
  // Of ContextOptions::other_family, if any.
  VkQueue other_queue() const { return other_queue_; }
  // A queue takes one caller at a time; threads that submit hold this.
  std::mutex& queue_mutex() { return queue_mutex_; }
  const VkPhysicalDeviceProperties& properties() const { return properties_; }
  const VkPhysicalDeviceMemoryProperties& memory_properties() const { return memory_properties_; }
  const VkQueueFamilyProperties& queue_family_properties() const { return family_properties_; }
  // What the device offers; everything but robustness, protection and capture-replay is enabled.
  const CoreFeatures& features() const { return features_; }
  // Destroys device and instance (the layer then reports what was leaked) and returns how many
  // messages came in all.
  uint32_t Close();

  // The index of a type among `type_bits` with all of `flags`, or UINT32_MAX.
  uint32_t FindMemoryType(uint32_t type_bits, VkMemoryPropertyFlags flags) const;

  template <typename Function>
  Function InstanceFunction(const char* name) const {
    auto function = reinterpret_cast<Function>(vkGetInstanceProcAddr(instance_, name));
    if (function == nullptr) throw std::runtime_error(std::string("no instance command ") + name);
    return function;
  }
  template <typename Function>
  Function DeviceFunction(const char* name) const {
    auto function = reinterpret_cast<Function>(vkGetDeviceProcAddr(device_, name));
    if (function == nullptr) throw std::runtime_error(std::string("no device command ") + name);
    return function;
  }

 private:
  void CreateInstance(const ContextOptions& options);
  void ChoosePhysicalDevice();
  void CreateDevice(const ContextOptions& options);

  ValidationMessages messages_;
  VkInstance instance_ = VK_NULL_HANDLE;
  VkDebugUtilsMessengerEXT messenger_ = VK_NULL_HANDLE;
  VkPhysicalDevice physical_device_ = VK_NULL_HANDLE;
  VkPhysicalDeviceProperties properties_ = {};
  VkPhysicalDeviceMemoryProperties memory_properties_ = {};
  VkQueueFamilyProperties family_properties_ = {};
  CoreFeatures features_;
  VkDevice device_ = VK_NULL_HANDLE;
  uint32_t queue_family_ = 0;
  VkQueue queue_ = VK_NULL_HANDLE;
  VkQueue other_queue_ = VK_NULL_HANDLE;
  std::mutex queue_mutex_;
};

// The physical device to use: number $VULKAN_TEST_DEVICE if set, else the best kind (discrete,
// integrated, virtual, CPU).
VkPhysicalDevice ChooseDevice(VkInstance instance);

bool HasDeviceExtension(VkPhysicalDevice device, const char* name);

}  // namespace vesper::test
