// Buffers: what their usage says about the memory bound to them.
#include <memory>

#include "client/objects/object.h"
#include "client/overrides/addresses.h"
#include "client/overrides/uploads.h"
#include "client/session/call.h"
#include "client/session/session.h"
#include "generated/client/entry_points.h"
#include "generated/client/overrides.h"
#include "runtime/vk/chain.h"

namespace vesper::client {
namespace {

// With no usage but these the device only reads a buffer. An address lets shaders write.
constexpr VkBufferUsageFlags kReads = VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_UNIFORM_TEXEL_BUFFER_BIT |
                                      VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT | VK_BUFFER_USAGE_INDEX_BUFFER_BIT |
                                      VK_BUFFER_USAGE_VERTEX_BUFFER_BIT | VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT |
                                      VK_BUFFER_USAGE_CONDITIONAL_RENDERING_BIT_EXT;

// Chains may widen the usage (VkBufferUsageFlags2CreateInfo) or share the memory with others.
bool MayBeWritten(const VkBufferCreateInfo& info) {
  return info.pNext != nullptr || info.flags != 0 || (info.usage & ~kReads) != 0;
}

bool HasAddress(const VkBufferCreateInfo& info) {
  bool has = (info.usage & VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT) != 0;
#ifdef VK_KHR_maintenance5
  const auto* wider =
      FindInChain<VkBufferUsageFlags2CreateInfoKHR>(info.pNext, VK_STRUCTURE_TYPE_BUFFER_USAGE_FLAGS_2_CREATE_INFO_KHR);
  if (wider != nullptr) has = (wider->usage & VK_BUFFER_USAGE_2_SHADER_DEVICE_ADDRESS_BIT_KHR) != 0;
#endif
  return has;
}

}  // namespace

namespace overrides {

VKAPI_ATTR VkResult VKAPI_CALL CreateBuffer(VkDevice device, const VkBufferCreateInfo* pCreateInfo,
                                            const VkAllocationCallbacks* pAllocator, VkBuffer* pBuffer) {
  const VkResult result = entry::CreateBuffer(device, pCreateInfo, pAllocator, pBuffer);
  if (result < 0) return result;
  auto* state = new (std::nothrow) BufferState(IdOf(*pBuffer));
  if (state == nullptr) return result;  // bound memory is then taken for written wholly
  state->size = pCreateInfo->size;
  state->writable = MayBeWritten(*pCreateInfo);
  state->addressed = HasAddress(*pCreateInfo);
  if (!SessionOf(device).states().Add(state)) return result;
  if (state->addressed && (pCreateInfo->flags & VK_BUFFER_CREATE_SPARSE_BINDING_BIT) != 0) {
    ExpectAddress(Addressed::kBuffer, FromHandle<Device>(device), state->id,
                  &state->address);  // before memory is bound
  }
  return result;
}

VKAPI_ATTR void VKAPI_CALL DestroyBuffer(VkDevice device, VkBuffer buffer, const VkAllocationCallbacks* pAllocator) {
  Session& session = SessionOf(device);
  AwaitUploads(FromHandle<Device>(device));
  if (!session.abandoned()) {
    const std::unique_ptr<ObjectState> state(session.states().Remove(IdOf(buffer)));
    auto* known = static_cast<BufferState*>(state.get());
    if (known != nullptr && known->addressed)
      ForgetAddress(Addressed::kBuffer, FromHandle<Device>(device), &known->address);
  }
  entry::DestroyBuffer(device, buffer, pAllocator);
}

VKAPI_ATTR VkDeviceAddress VKAPI_CALL GetBufferDeviceAddress(VkDevice device, const VkBufferDeviceAddressInfo* pInfo) {
  Device* object = FromHandle<Device>(device);
  auto* state = object->session->states().Get<BufferState>(pInfo->buffer);
  if (state == nullptr) return entry::GetBufferDeviceAddress(device, pInfo);
  return AddressOf(Addressed::kBuffer, object, state->id, &state->address);
}

VKAPI_ATTR uint64_t VKAPI_CALL GetBufferOpaqueCaptureAddress(VkDevice device, const VkBufferDeviceAddressInfo* pInfo) {
  Device* object = FromHandle<Device>(device);
  auto* state = object->session->states().Get<BufferState>(pInfo->buffer);
  if (state != nullptr && state->captured.IsKnown()) return state->captured.Value();
  const uint64_t address = entry::GetBufferOpaqueCaptureAddress(device, pInfo);
  if (state != nullptr && address != 0 && !object->lost.load()) state->captured.Know(address);
  return address;
}

}  // namespace overrides
}  // namespace vesper::client
