// Deferred operations are carried out at once (policy keeps the operation on this side): the server must not keep what a
// command points to. The application learns it by VK_OPERATION_NOT_DEFERRED_KHR, and never has to join.
#include "generated/client/entry_points.h"
#include "generated/client/overrides.h"

namespace vesper::client::overrides {
namespace {

VkResult NotDeferred(VkDeferredOperationKHR operation, VkResult result) {
  return operation != VK_NULL_HANDLE && result == VK_SUCCESS ? VK_OPERATION_NOT_DEFERRED_KHR : result;
}

}  // namespace

VKAPI_ATTR VkResult VKAPI_CALL CreateRayTracingPipelinesKHR(VkDevice device, VkDeferredOperationKHR deferredOperation,
                                                            VkPipelineCache pipelineCache, uint32_t createInfoCount,
                                                            const VkRayTracingPipelineCreateInfoKHR* pCreateInfos,
                                                            const VkAllocationCallbacks* pAllocator,
                                                            VkPipeline* pPipelines) {
  return NotDeferred(deferredOperation,
                     entry::CreateRayTracingPipelinesKHR(device, VK_NULL_HANDLE, pipelineCache, createInfoCount,
                                                         pCreateInfos, pAllocator, pPipelines));
}

VKAPI_ATTR VkResult VKAPI_CALL CopyAccelerationStructureKHR(VkDevice device, VkDeferredOperationKHR deferredOperation,
                                                            const VkCopyAccelerationStructureInfoKHR* pInfo) {
  return NotDeferred(deferredOperation, entry::CopyAccelerationStructureKHR(device, VK_NULL_HANDLE, pInfo));
}

VKAPI_ATTR VkResult VKAPI_CALL CopyMicromapEXT(VkDevice device, VkDeferredOperationKHR deferredOperation,
                                               const VkCopyMicromapInfoEXT* pInfo) {
  return NotDeferred(deferredOperation, entry::CopyMicromapEXT(device, VK_NULL_HANDLE, pInfo));
}

}  // namespace vesper::client::overrides
