// Device memory: what is host-visible is shadowed here while it is mapped; see client/memory/.
#include <memory>

#include "client/call.h"
#include "client/object.h"
#include "client/session.h"
#include "generated/client/entry_points.h"
#include "generated/client/overrides.h"

namespace vesper::client {
namespace {

// Chain members that leave the memory to this device alone; with any other it may be shared, or hold something already.
bool IsForeign(const void* chain) {
  for (auto* member = static_cast<const VkBaseInStructure*>(chain); member != nullptr; member = member->pNext) {
    switch (member->sType) {
      case VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO:
      case VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO:
      case VK_STRUCTURE_TYPE_MEMORY_PRIORITY_ALLOCATE_INFO_EXT:
      case VK_STRUCTURE_TYPE_MEMORY_OPAQUE_CAPTURE_ADDRESS_ALLOCATE_INFO:
        break;
      default:
        return true;
    }
  }
  return false;
}

void NoteBufferBinding(Device* device, VkBuffer buffer, VkDeviceMemory memory, VkDeviceSize offset) {
  const States& states = device->session->states();
  const auto* state = states.Get<MemoryState>(memory);
  const auto* bound = states.Get<BufferState>(buffer);
  if (state == nullptr || (bound != nullptr && !bound->writable)) return;
  device->mapped_memory.NoteWritable(*state, offset, bound == nullptr ? VK_WHOLE_SIZE : bound->size);
}

// How much of the memory an image takes is the server's knowledge: all that follows.
void NoteImageBinding(Device* device, VkDeviceMemory memory, VkDeviceSize offset) {
  const auto* state = device->session->states().Get<MemoryState>(memory);
  if (state != nullptr) device->mapped_memory.NoteWritable(*state, offset, VK_WHOLE_SIZE);
}

VkResult Map(VkDevice handle, VkDeviceMemory memory, VkDeviceSize offset, VkDeviceSize size, void** data) {
  Device* device = FromHandle<Device>(handle);
  const auto* state = device->session->states().Get<MemoryState>(memory);
  if (state == nullptr || !state->visible()) return VK_ERROR_MEMORY_MAP_FAILED;
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
    state->foreign = IsForeign(pAllocateInfo->pNext);
    state->allocated_at = object->mapped_memory.submitted();
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
    if (state == nullptr || state->coherent()) continue;
    if (!object->mapped_memory.FetchRange(*state, pMemoryRanges[i].offset, pMemoryRanges[i].size)) {
      return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    }
  }
  return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL BindBufferMemory(VkDevice device, VkBuffer buffer, VkDeviceMemory memory,
                                                VkDeviceSize memoryOffset) {
  NoteBufferBinding(FromHandle<Device>(device), buffer, memory, memoryOffset);
  return entry::BindBufferMemory(device, buffer, memory, memoryOffset);
}

VKAPI_ATTR VkResult VKAPI_CALL BindBufferMemory2(VkDevice device, uint32_t bindInfoCount,
                                                 const VkBindBufferMemoryInfo* pBindInfos) {
  for (uint32_t i = 0; i < bindInfoCount; ++i) {
    NoteBufferBinding(FromHandle<Device>(device), pBindInfos[i].buffer, pBindInfos[i].memory, pBindInfos[i].memoryOffset);
  }
  return entry::BindBufferMemory2(device, bindInfoCount, pBindInfos);
}

VKAPI_ATTR VkResult VKAPI_CALL BindImageMemory(VkDevice device, VkImage image, VkDeviceMemory memory,
                                               VkDeviceSize memoryOffset) {
  NoteImageBinding(FromHandle<Device>(device), memory, memoryOffset);
  return entry::BindImageMemory(device, image, memory, memoryOffset);
}

VKAPI_ATTR VkResult VKAPI_CALL BindImageMemory2(VkDevice device, uint32_t bindInfoCount,
                                                const VkBindImageMemoryInfo* pBindInfos) {
  for (uint32_t i = 0; i < bindInfoCount; ++i) {
    NoteImageBinding(FromHandle<Device>(device), pBindInfos[i].memory, pBindInfos[i].memoryOffset);
  }
  return entry::BindImageMemory2(device, bindInfoCount, pBindInfos);
}

}  // namespace overrides
}  // namespace vesper::client
