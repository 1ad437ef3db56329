#include "tools/devices.h"

#include <dlfcn.h>
#include <vulkan/vulkan.h>

#include <cstdlib>

#include "tools/installation.h"

namespace vesper::tools {
namespace {

// The instance lives as long as this.
class Instance {
 public:
  explicit Instance(PFN_vkGetInstanceProcAddr get) : get_(get) {
    VkApplicationInfo application = {};
    application.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO;
    application.apiVersion = VK_API_VERSION_1_1;
    VkInstanceCreateInfo info = {};
    info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
    info.pApplicationInfo = &application;
    const auto create = reinterpret_cast<PFN_vkCreateInstance>(get(nullptr, "vkCreateInstance"));
    result_ = create(&info, nullptr, &instance_);
  }
  ~Instance() {
    if (result_ == VK_SUCCESS) Get<PFN_vkDestroyInstance>("vkDestroyInstance")(instance_, nullptr);
  }
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  VkResult result() const { return result_; }
  std::vector<SeenDevice> Devices() const {
    const auto enumerate = Get<PFN_vkEnumeratePhysicalDevices>("vkEnumeratePhysicalDevices");
    const auto describe = Get<PFN_vkGetPhysicalDeviceProperties>("vkGetPhysicalDeviceProperties");
    uint32_t count = 0;
    enumerate(instance_, &count, nullptr);
    std::vector<VkPhysicalDevice> devices(count);
    enumerate(instance_, &count, devices.data());
    devices.resize(count);
    std::vector<SeenDevice> seen;
    for (VkPhysicalDevice device : devices) {
      VkPhysicalDeviceProperties properties;
      describe(device, &properties);
      seen.push_back({properties.deviceName, properties.apiVersion});
    }
    return seen;
  }

 private:
  template <typename Function>
  Function Get(const char* name) const {
    return reinterpret_cast<Function>(get_(instance_, name));
  }

  const PFN_vkGetInstanceProcAddr get_;
  VkInstance instance_ = VK_NULL_HANDLE;
  VkResult result_ = VK_ERROR_INITIALIZATION_FAILED;
};

}  // namespace

std::vector<SeenDevice> DevicesOf(const Address& address, std::string* error) {
  setenv("VESPER_SERVER", address.WithSecrets().c_str(), 1);
  setenv("VK_ICD_FILENAMES", ManifestPath().c_str(), 1);
  setenv("VK_DRIVER_FILES", ManifestPath().c_str(), 1);
  // Left open: drivers do not bear being closed while threads of theirs end.
  void* loader = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
  if (loader == nullptr) {
    *error = dlerror();
    return {};
  }
  const auto get = reinterpret_cast<PFN_vkGetInstanceProcAddr>(dlsym(loader, "vkGetInstanceProcAddr"));
  const Instance instance(get);
  if (instance.result() != VK_SUCCESS) {
    *error = "vkCreateInstance = " + std::to_string(instance.result());
    return {};
  }
  return instance.Devices();
}

}  // namespace vesper::tools
