// What the loader sees of the library, and all that it exports (icd.map).
#include <vulkan/vk_icd.h>
#include <vulkan/vulkan.h>

#include <algorithm>

#include "client/icd/proc_addr.h"
#include "runtime/environment.h"

#define VESPER_EXPORT extern "C" __attribute__((visibility("default")))

namespace {

constexpr uint32_t kOldestInterface = 5;  // versions above 1.0 may be asked for
constexpr uint32_t kNewestInterface = 6;

// A worker of the server must never find its way back to a server.
bool InsideWorker() { return vesper::Setting("VESPER_WORKER") != nullptr; }

}  // namespace

VESPER_EXPORT VKAPI_ATTR VkResult VKAPI_CALL vk_icdNegotiateLoaderICDInterfaceVersion(uint32_t* pVersion) {
  if (InsideWorker() || *pVersion < kOldestInterface) return VK_ERROR_INCOMPATIBLE_DRIVER;
  *pVersion = std::min(*pVersion, kNewestInterface);
  return VK_SUCCESS;
}

VESPER_EXPORT VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL vk_icdGetInstanceProcAddr(VkInstance instance,
                                                                                 const char* pName) {
  return vesper::client::InstanceProcAddr(instance, pName);
}

VESPER_EXPORT VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL vk_icdGetPhysicalDeviceProcAddr(VkInstance instance,
                                                                                       const char* pName) {
  return vesper::client::PhysicalDeviceProcAddr(instance, pName);
}
