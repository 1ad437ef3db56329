// Device memory: what is host-visible is shared with the server, or shadowed here while it is mapped; see client/memory/.
#include "generated/wire/memory.h"

#include <algorithm>
#include <memory>
#include <new>
#include <vector>

#include "client/connection/connection.h"
#include "client/objects/object.h"
#include "client/overrides/addresses.h"
#include "client/overrides/guard.h"
#include "client/overrides/memory_credit.h"
#include "client/overrides/uploads.h"
#include "client/session/call.h"
#include "client/session/session.h"
#include "client/wsi/swapchain.h"
#include "generated/client/entry_points.h"
#include "generated/client/overrides.h"
#include "runtime/vk/chain.h"
#include "runtime/vk/foreign_memory.h"

namespace vesper::client {
namespace {

void NoteBufferBinding(Device* device, VkBuffer buffer, VkDeviceMemory memory, VkDeviceSize offset) {
  const States& states = device->session->states();
  const auto* state = states.Get<MemoryState>(memory);
  auto* bound = states.Get<BufferState>(buffer);
  if (bound != nullptr) {
    bound->memory = IdOf(memory);
    bound->offset = offset;
  }
  if (state == nullptr || state->shared.valid() || (bound != nullptr && !bound->writable)) return;
  device->mapped_memory.NoteWritable(*state, offset, bound == nullptr ? VK_WHOLE_SIZE : bound->size);
}

void ExpectAddressOf(Device* device, VkBuffer buffer) {
  auto* bound = device->session->states().Get<BufferState>(buffer);
  if (bound == nullptr || !bound->addressed) return;
  ExpectAddress(Addressed::kBuffer, device, bound->id, &bound->address);
}

// How much of the memory an image takes is the server's knowledge: all that follows.
void NoteImageBinding(Device* device, VkDeviceMemory memory, VkDeviceSize offset) {
  const auto* state = device->session->states().Get<MemoryState>(memory);
  if (state == nullptr || state->shared.valid()) return;
  device->mapped_memory.NoteWritable(*state, offset, VK_WHOLE_SIZE);
}

// An image that is bound to an image of a swapchain takes that one's memory. Its own members do not count then.
void UseMemoryOfSwapchain(const States& states, VkBindImageMemoryInfo* bind) {
  const auto* of = FindInChain<VkBindImageMemorySwapchainInfoKHR>(
      bind->pNext, VK_STRUCTURE_TYPE_BIND_IMAGE_MEMORY_SWAPCHAIN_INFO_KHR);
  if (of == nullptr || of->swapchain == VK_NULL_HANDLE) return;
  const auto* swapchain = states.Get<SwapchainState>(of->swapchain);
  if (swapchain == nullptr || of->imageIndex >= swapchain->images.size()) return;
  bind->memory = swapchain->image_memory;
  bind->memoryOffset = of->imageIndex * swapchain->image_stride;
}

// Of memory that is mapped for as long as it lives.
VkResult MapAt(uint8_t* whole, const MemoryState& memory, VkDeviceSize offset, VkDeviceSize size, void** data) {
  if (offset > memory.size || (size != VK_WHOLE_SIZE && size > memory.size - offset)) return VK_ERROR_MEMORY_MAP_FAILED;
  *data = whole + offset;
  return VK_SUCCESS;
}

// What the server's driver wants, and this machine's pages.
uint64_t ImportAlignment(PhysicalDevice* physical_device) {
  VkPhysicalDeviceExternalMemoryHostPropertiesEXT host{};
  host.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT;
  VkPhysicalDeviceProperties2 properties{};
  properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
  properties.pNext = &host;
  overrides::GetPhysicalDeviceProperties2(ToHandle<VkPhysicalDevice>(physical_device), &properties);
  return std::max<uint64_t>(host.minImportedHostPointerAlignment, 1);
}

VkResult Allocate(VkDevice device, const VkMemoryAllocateInfo* info, VkDeviceMemory* memory, Reply* reply) {
  wire::AllocateMemoryArgs args{};
  args.device = device;
  args.pAllocateInfo = info;
  args.pMemory = memory;
  Call call(device, Command::kAllocateMemory);
  call.Mint(HandleType::kDeviceMemory, memory, 1);
  return call.Ask(&args, reply) ? call.Settle(args.result) : call.failure();
}

// Whether the allocation imports memory of the application's, and whether the driver would take that.
VkResult CheckImport(VkDevice device, const VkMemoryAllocateInfo& info, uint8_t** imported) {
  const auto* import =
      FindInChain<VkImportMemoryHostPointerInfoEXT>(info.pNext, VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT);
  if (import == nullptr) return VK_SUCCESS;
  const uint64_t alignment = ImportAlignment(FromHandle<Device>(device)->physical_device);
  if (import->handleType != VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT || import->pHostPointer == nullptr ||
      reinterpret_cast<uintptr_t>(import->pHostPointer) % alignment != 0 || info.allocationSize % alignment != 0) {
    return VK_ERROR_INVALID_EXTERNAL_HANDLE;
  }
  *imported = static_cast<uint8_t*>(import->pHostPointer);
  return VK_SUCCESS;
}

// Takes over what the server made.
VkResult Keep(Device* device, const VkMemoryAllocateInfo& info, uint8_t* imported, VkDeviceMemory memory,
              uint64_t on_credit, const Reply& reply) {
  auto* state = new (std::nothrow) MemoryState(IdOf(memory));
  if (state == nullptr) return VK_ERROR_OUT_OF_HOST_MEMORY;
  const uint32_t type = info.memoryTypeIndex;
  state->size = info.allocationSize;
  state->imported = imported;
  state->foreign = IsForeignMemory(info.pNext);
  state->allocated_at = device->mapped_memory.submitted();
  if (type < device->memory_properties.memoryTypeCount) {
    state->properties = device->memory_properties.memoryTypes[type].propertyFlags;
    state->heap = device->memory_properties.memoryTypes[type].heapIndex;
  }
  state->on_credit = on_credit;
  if (reply.announced_descriptor && !state->shared.Map(reply.memory.file, state->size, reply.memory.place)) {
    delete state;
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  Statistics& statistics = device->session->statistics();
  if (state->visible()) {
    Count(state->shared.valid() ? statistics.shared_allocations : statistics.tracked_allocations);
  }
  if (!device->session->states().Add(state)) return VK_ERROR_OUT_OF_HOST_MEMORY;
  if (imported == nullptr) return VK_SUCCESS;
  const VkResult result = device->mapped_memory.Import(*state);
  if (result < 0) delete device->session->states().Remove(IdOf(memory));
  return result;
}

// What remains when an import has been checked.
VkResult AllocateOrImport(VkDevice device, const VkMemoryAllocateInfo& info, uint8_t* imported, VkDeviceMemory* memory,
                          const VkAllocationCallbacks* allocator) {
  VkResult result = VK_SUCCESS;
  Device* object = FromHandle<Device>(device);
  Reply reply;
  uint64_t on_credit = 0;
  *memory = imported == nullptr ? AllocateOnCredit(object, info, &on_credit) : VK_NULL_HANDLE;
  if (*memory == VK_NULL_HANDLE) {
    result = Allocate(device, &info, memory, &reply);
    if (result < 0 && GiveUpCredit(object)) result = Allocate(device, &info, memory, &reply);
    if (result < 0) return result;
  }
  object->memory_credit.Allocated();
  result = Keep(object, info, imported, *memory, on_credit, reply);
  if (result == VK_SUCCESS) return result;
  entry::FreeMemory(device, *memory, allocator);
  object->memory_credit.Freed();
  *memory = VK_NULL_HANDLE;
  return result;
}

VkResult Map(VkDevice handle, VkDeviceMemory memory, VkDeviceSize offset, VkDeviceSize size, void** data) {
  Device* device = FromHandle<Device>(handle);
  const auto* state = device->session->states().Get<MemoryState>(memory);
  if (state == nullptr || !state->visible()) return VK_ERROR_MEMORY_MAP_FAILED;
  if (state->shared.valid()) return MapAt(state->shared.data(), *state, offset, size, data);
  if (state->imported != nullptr) return MapAt(state->imported, *state, offset, size, data);
  return device->mapped_memory.Map(*state, offset, size, data);
}

}  // namespace

namespace overrides {

// A chain may hold budgets, which change.
VKAPI_ATTR void VKAPI_CALL GetPhysicalDeviceMemoryProperties2(VkPhysicalDevice physicalDevice,
                                                              VkPhysicalDeviceMemoryProperties2* pMemoryProperties) {
  if (pMemoryProperties->pNext != nullptr) {
    return entry::GetPhysicalDeviceMemoryProperties2(physicalDevice, pMemoryProperties);
  }
  entry::GetPhysicalDeviceMemoryProperties(physicalDevice, &pMemoryProperties->memoryProperties);
}

VKAPI_ATTR VkResult VKAPI_CALL AllocateMemory(VkDevice device, const VkMemoryAllocateInfo* pAllocateInfo,
                                              const VkAllocationCallbacks* pAllocator, VkDeviceMemory* pMemory) {
  uint8_t* imported = nullptr;
  VkResult result = CheckImport(device, *pAllocateInfo, &imported);
  if (result == VK_SUCCESS) result = AllocateOrImport(device, *pAllocateInfo, imported, pMemory, pAllocator);
  Device* object = FromHandle<Device>(device);
  object->memory_report.Allocated(result == VK_SUCCESS ? IdOf(*pMemory) : kNullObject, *pAllocateInfo,
                                  imported != nullptr, object->memory_properties);
  return result;
}

VKAPI_ATTR void VKAPI_CALL FreeMemory(VkDevice device, VkDeviceMemory memory, const VkAllocationCallbacks* pAllocator) {
  if (memory == VK_NULL_HANDLE) return;
  Device* object = FromHandle<Device>(device);
  AwaitUploads(object);
  uint32_t heap = 0;
  uint64_t on_credit = 0;
  if (!object->session->abandoned()) {
    const std::unique_ptr<ObjectState> state(object->session->states().Remove(IdOf(memory)));
    if (state != nullptr) {
      const auto& dropped = static_cast<const MemoryState&>(*state);
      object->mapped_memory.Drop(dropped);
      object->memory_report.Freed(dropped.id, dropped.imported != nullptr);
      heap = dropped.heap;
      on_credit = dropped.on_credit;
    }
  }
  entry::FreeMemory(device, memory, pAllocator);
  if (object->session->abandoned()) return;
  if (on_credit != 0) object->memory_credit.GiveBack(heap, on_credit);
  object->memory_credit.Freed();
}

VKAPI_ATTR VkResult VKAPI_CALL MapMemory(VkDevice device, VkDeviceMemory memory, VkDeviceSize offset, VkDeviceSize size,
                                         VkMemoryMapFlags, void** ppData) {
  return Map(device, memory, offset, size, ppData);
}

VKAPI_ATTR void VKAPI_CALL UnmapMemory(VkDevice device, VkDeviceMemory memory) {
  Device* object = FromHandle<Device>(device);
  const auto* state = object->session->states().Get<MemoryState>(memory);
  if (state == nullptr || state->shared.valid() || state->imported != nullptr) return;
  object->mapped_memory.Unmap(*state);
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
    if (state == nullptr || state->shared.valid()) continue;
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
    if (state == nullptr || state->shared.valid() || state->coherent()) continue;
    if (!object->mapped_memory.FetchRange(*state, pMemoryRanges[i].offset, pMemoryRanges[i].size)) {
      return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    }
  }
  return VK_SUCCESS;
}

// Of all memory of this process alike.
VKAPI_ATTR VkResult VKAPI_CALL GetMemoryHostPointerPropertiesEXT(
    VkDevice device, VkExternalMemoryHandleTypeFlagBits handleType, const void* pHostPointer,
    VkMemoryHostPointerPropertiesEXT* pMemoryHostPointerProperties) {
  const uint64_t alignment = ImportAlignment(FromHandle<Device>(device)->physical_device);
  if (handleType != VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT || pHostPointer == nullptr ||
      reinterpret_cast<uintptr_t>(pHostPointer) % alignment != 0) {
    return VK_ERROR_INVALID_EXTERNAL_HANDLE;
  }
  wire::GetMemoryHostPointerPropertiesEXTArgs args{};
  args.device = device;
  args.handleType = handleType;
  args.pMemoryHostPointerProperties = pMemoryHostPointerProperties;
  Call call(device, Command::kGetMemoryHostPointerPropertiesEXT);
  return call.AskCached(&args) ? args.result : call.failure();
}

VKAPI_ATTR VkResult VKAPI_CALL BindBufferMemory(VkDevice device, VkBuffer buffer, VkDeviceMemory memory,
                                                VkDeviceSize memoryOffset) {
  NoteBufferBinding(FromHandle<Device>(device), buffer, memory, memoryOffset);
  const VkResult result = entry::BindBufferMemory(device, buffer, memory, memoryOffset);
  if (result == VK_SUCCESS) ExpectAddressOf(FromHandle<Device>(device), buffer);
  return result;
}

VKAPI_ATTR VkResult VKAPI_CALL BindBufferMemory2(VkDevice device, uint32_t bindInfoCount,
                                                 const VkBindBufferMemoryInfo* pBindInfos) {
  for (uint32_t i = 0; i < bindInfoCount; ++i) {
    NoteBufferBinding(FromHandle<Device>(device), pBindInfos[i].buffer, pBindInfos[i].memory,
                      pBindInfos[i].memoryOffset);
  }
  const VkResult result = entry::BindBufferMemory2(device, bindInfoCount, pBindInfos);
  for (uint32_t i = 0; result == VK_SUCCESS && i < bindInfoCount; ++i) {
    ExpectAddressOf(FromHandle<Device>(device), pBindInfos[i].buffer);
  }
  return result;
}

VKAPI_ATTR VkResult VKAPI_CALL BindImageMemory(VkDevice device, VkImage image, VkDeviceMemory memory,
                                               VkDeviceSize memoryOffset) {
  NoteImageBinding(FromHandle<Device>(device), memory, memoryOffset);
  return entry::BindImageMemory(device, image, memory, memoryOffset);
}

VKAPI_ATTR VkResult VKAPI_CALL BindImageMemory2(VkDevice device, uint32_t bindInfoCount,
                                                const VkBindImageMemoryInfo* pBindInfos) {
  return Guarded([&] {
    std::vector<VkBindImageMemoryInfo> binds(pBindInfos, pBindInfos + bindInfoCount);
    for (VkBindImageMemoryInfo& bind : binds) {
      UseMemoryOfSwapchain(SessionOf(device).states(), &bind);
      NoteImageBinding(FromHandle<Device>(device), bind.memory, bind.memoryOffset);
    }
    return entry::BindImageMemory2(device, bindInfoCount, binds.data());
  });
}

}  // namespace overrides
}  // namespace vesper::client
