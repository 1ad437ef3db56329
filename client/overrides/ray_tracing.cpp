// Addresses of acceleration structures are asked for once (client/objects/addresses.h).
// Deferred operations are carried out at once (policy keeps the operation on this side): the server must not keep what a
// command points to. The application learns it by VK_OPERATION_NOT_DEFERRED_KHR, and never has to join.
#include <memory>
#include <new>

#include "client/objects/object.h"
#include "client/overrides/addresses.h"
#include "client/session/session.h"
#include "generated/client/entry_points.h"
#include "generated/client/overrides.h"

namespace vesper::client::overrides {
namespace {

struct AccelerationStructureState : ObjectState {
  using ObjectState::ObjectState;
  RemoteValue address;
};

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

VKAPI_ATTR VkResult VKAPI_CALL CreateAccelerationStructureKHR(VkDevice device,
                                                              const VkAccelerationStructureCreateInfoKHR* pCreateInfo,
                                                              const VkAllocationCallbacks* pAllocator,
                                                              VkAccelerationStructureKHR* pAccelerationStructure) {
  const VkResult result =
      entry::CreateAccelerationStructureKHR(device, pCreateInfo, pAllocator, pAccelerationStructure);
  if (result < 0) return result;
  auto* state = new (std::nothrow) AccelerationStructureState(IdOf(*pAccelerationStructure));
  Session& session = SessionOf(device);
  if (state == nullptr || !session.states().Add(state)) return result;  // without it every question asks
  ExpectAddress(Addressed::kAccelerationStructure, FromHandle<Device>(device), state->id, &state->address);
  return result;
}

VKAPI_ATTR void VKAPI_CALL DestroyAccelerationStructureKHR(VkDevice device,
                                                           VkAccelerationStructureKHR accelerationStructure,
                                                           const VkAllocationCallbacks* pAllocator) {
  Session& session = SessionOf(device);
  if (!session.abandoned()) {
    const std::unique_ptr<ObjectState> state(session.states().Remove(IdOf(accelerationStructure)));
    auto* known = static_cast<AccelerationStructureState*>(state.get());
    if (known != nullptr) ForgetAddress(Addressed::kAccelerationStructure, FromHandle<Device>(device), &known->address);
  }
  entry::DestroyAccelerationStructureKHR(device, accelerationStructure, pAllocator);
}

VKAPI_ATTR VkDeviceAddress VKAPI_CALL
GetAccelerationStructureDeviceAddressKHR(VkDevice device, const VkAccelerationStructureDeviceAddressInfoKHR* pInfo) {
  Device* object = FromHandle<Device>(device);
  auto* state = object->session->states().Get<AccelerationStructureState>(pInfo->accelerationStructure);
  if (state == nullptr) return entry::GetAccelerationStructureDeviceAddressKHR(device, pInfo);
  return AddressOf(Addressed::kAccelerationStructure, object, state->id, &state->address);
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
