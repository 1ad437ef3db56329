// Device memory: what is host-visible is shadowed here while it is mapped; see client/memory/.
#include <memory>

#include "client/call.h"
#include "client/object.h"
#include "client/session.h"
#include "generated/client/entry_points.h"
#include "generated/client/overrides.h"

namespace vesper::client {
namespace {

constexpr VkMemoryPropertyFlags kVisible = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT;

bool IsCoherent(const MemoryState& memory) {
  return (memory.properties & VK_MEMORY_PROPERTY_HOST_COHERENT_BIT) != 0;
}

VkResult Map(VkDevice handle, VkDeviceMemory memory, VkDeviceSize offset, VkDeviceSize size, void** data) {
  Device* device = FromHandle<Device>(handle);
  const auto* state = device->session->states().Get<MemoryState>(memory);
  if (state == nullptr || (state->properties & kVisible) == 0) return VK_ERROR_MEMORY_MAP_FAILED;
  return device->mapped_memory.Map(*state, offset, size, data);
}

}  // namespace

namespace overrides {

VKAPI_ATTR VkResult VKAPI_CALL AllocateMemory(VkDevice device, const VkMemoryAllocateInfo* pAllocateInfo,
                                              const VkAllocationCallbacks* pAllocator, VkDeviceMemory* pMemory) {
  const VkResult result = entry::AllocateMemory(device, pAllocateInfo, pAllocator, pMemory);
  if (result < 0) return result;
  const Device* object = FromHandle<Device>(device);
  auto* state = new (std::nothrow) MemoryState(IdOf(*pMemory));
  if (state != nullptr) {
    const uint32_t type = pAllocateInfo->memoryTypeIndex;
    state->size = pAllocateInfo->allocationSize;
    if (type < object->memory_properties.memoryTypeCount) {
      state->properties = object->memory_properties.memoryTypes[type].propertyFlags;
    }
    if (object->session->states().Add(state)) return result;
  }
  entry::FreeMemory(device, *pMemory, pAllocator);
  *pMemory = VK_NULL_HANDLE;
  return VK_ERROR_OUT_OF_HOST_MEMORY;
}

VKAPI_ATTR void VKAPI_CALL FreeMemory(VkDevice device, VkDeviceMemory memory, const VkAllocationCallbacks* pAllocator) {
  if (memory == VK_NULL_HANDLE) return;
  Device* object = FromHandle<Device>(device);
  if (!object->session->abandoned()) {
    const std::unique_ptr<ObjectState> state(object->session->states().Remove(IdOf(memory)));
    if (state != nullptr) object->mapped_memory.Drop(static_cast<const MemoryState&>(*state));
  }
  entry::FreeMemory(device, memory, pAllocator);
}

VKAPI_ATTR VkResult VKAPI_CALL MapMemory(VkDevice device, VkDeviceMemory memory, VkDeviceSize offset, VkDeviceSize size,
                                         VkMemoryMapFlags, void** ppData) {
  return Map(device, memory, offset, size, ppData);
}

VKAPI_ATTR void VKAPI_CALL UnmapMemory(VkDevice device, VkDeviceMemory memory) {
  Device* object = FromHandle<Device>(device);
  const auto* state = object->session->states().Get<MemoryState>(memory);
  if (state != nullptr) object->mapped_memory.Unmap(*state);
}

#ifdef VK_KHR_map_memory2
VKAPI_ATTR VkResult VKAPI_CALL MapMemory2KHR(VkDevice device, const VkMemoryMapInfoKHR* pMemoryMapInfo, void** ppData) {
  return Map(device, pMemoryMapInfo->memory, pMemoryMapInfo->offset, pMemoryMapInfo->size, ppData);
}

VKAPI_ATTR VkResult VKAPI_CALL UnmapMemory2KHR(VkDevice device, const VkMemoryUnmapInfoKHR* pMemoryUnmapInfo) {
  UnmapMemory(device, pMemoryUnmapInfo->memory);
  return VK_SUCCESS;
}
#endif

// Coherent memory needs neither flush nor invalidate: a flush of it sends early, which costs nothing more.
VKAPI_ATTR VkResult VKAPI_CALL FlushMappedMemoryRanges(VkDevice device, uint32_t memoryRangeCount,
                                                       const VkMappedMemoryRange* pMemoryRanges) {
  Device* object = FromHandle<Device>(device);
  for (uint32_t i = 0; i < memoryRangeCount; ++i) {
    const auto* state = object->session->states().Get<MemoryState>(pMemoryRanges[i].memory);
    if (state == nullptr) continue;
    if (!object->mapped_memory.SendRange(*state, pMemoryRanges[i].offset, pMemoryRanges[i].size)) {
      return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    }
  }
  return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL InvalidateMappedMemoryRanges(VkDevice device, uint32_t memoryRangeCount,
                                                            const VkMappedMemoryRange* pMemoryRanges) {
  Device* object = FromHandle<Device>(device);
  for (uint32_t i = 0; i < memoryRangeCount; ++i) {
    const auto* state = object->session->states().Get<MemoryState>(pMemoryRanges[i].memory);
    if (state == nullptr || IsCoherent(*state)) continue;
    if (!object->mapped_memory.FetchRange(*state, pMemoryRanges[i].offset, pMemoryRanges[i].size)) {
      return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    }
  }
  return VK_SUCCESS;
}

}  // namespace overrides
}  // namespace vesper::client
