// Buffers: what their usage says about the memory bound to them.
#include <memory>

#include "client/objects/object.h"
#include "client/session/call.h"
#include "client/session/session.h"
#include "generated/client/entry_points.h"
#include "generated/client/overrides.h"

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
  SessionOf(device).states().Add(state);
  return result;
}

VKAPI_ATTR void VKAPI_CALL DestroyBuffer(VkDevice device, VkBuffer buffer, const VkAllocationCallbacks* pAllocator) {
  Session& session = SessionOf(device);
  if (!session.abandoned()) delete session.states().Remove(IdOf(buffer));
  entry::DestroyBuffer(device, buffer, pAllocator);
}

}  // namespace overrides
}  // namespace vesper::client
