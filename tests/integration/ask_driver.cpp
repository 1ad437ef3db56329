// A program that opens the driver by its path, as one with more rights than its user may, and asks it one question:
// ServiceTest runs it with and without such rights.
#include <dlfcn.h>
#include <sys/auxv.h>
#include <vulkan/vulkan.h>

#include <cstdio>

int main(int, char** arguments) {
  void* driver = dlopen(arguments[1], RTLD_NOW);
  if (driver == nullptr) {
    std::puts(dlerror());
    return 1;
  }
  const auto get = reinterpret_cast<PFN_vkGetInstanceProcAddr>(dlsym(driver, "vk_icdGetInstanceProcAddr"));
  const auto enumerate = reinterpret_cast<PFN_vkEnumerateInstanceExtensionProperties>(
      get(nullptr, "vkEnumerateInstanceExtensionProperties"));
  uint32_t count = 0;
  const VkResult result = enumerate(nullptr, &count, nullptr);
  if (getauxval(AT_SECURE) != 0) std::fputs("secure: ", stdout);
  std::puts(result == VK_SUCCESS && count != 0 ? "extensions" : "no driver");
  return 0;
}
