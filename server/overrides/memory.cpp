// Host-visible memory: shared with the client (server/memory/import.h), or known to the session's memory table while it lives.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "generated/server/overrides.h"
#include "runtime/vk/foreign_memory.h"
#include "server/base/chain.h"
#include "server/base/limits.h"
#include "server/memory/memory_types.h"
#include "server/session/session.h"

namespace vesper::server::overrides {
namespace {

void HideTypes(const Session& session, VkPhysicalDeviceMemoryProperties* properties) {
  if (session.reads_mapped_memory()) HideUncachedTypes(properties);
  if (session.must_share()) HideIncoherentTypes(properties);
}

// As the client is told.
bool IsVisible(const Session& session, const Device& device, uint32_t type) {
  VkPhysicalDeviceMemoryProperties told = device.memory_properties();
  HideTypes(session, &told);
  return type < told.memoryTypeCount &&
         (told.memoryTypes[type].propertyFlags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) != 0;
}

// Zeros of pages that are not there yet are left alone: `data` may be much, of which little is used.
void ZeroPages(void* data, uint64_t size) {
  static const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  unsigned char resident[limits::kPagesAtOnce];
  const auto begin = reinterpret_cast<uintptr_t>(data);
  const uintptr_t end = begin + size;
  for (uintptr_t at = begin / page * page; at < end; at += page * limits::kPagesAtOnce) {
    const uintptr_t stop = std::min(end, at + page * limits::kPagesAtOnce);
    if (mincore(reinterpret_cast<void*>(at), stop - at, resident) != 0) {
      std::memset(resident, 1, sizeof(resident));
    }
    for (uintptr_t each = at; each < stop; each += page) {
      if ((resident[(each - at) / page] & 1) == 0) continue;
      const uintptr_t from = std::max(each, begin);
      std::memset(reinterpret_cast<void*>(from), 0, std::min(each + page, stop) - from);
    }
  }
}

// Programs read memory that they never wrote, and with a driver that takes it from this process's
// heap would see what was freed before.
void MakeZeros(const Device& device, const VkMemoryAllocateInfo& info, VkDeviceMemory memory) {
  constexpr VkMemoryPropertyFlags kNeeded = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
  const VkMemoryPropertyFlags flags = device.memory_properties().memoryTypes[info.memoryTypeIndex].propertyFlags;
  if (!device.is_cpu() || (flags & kNeeded) != kNeeded) return;
  if (FindInChain<VkImportMemoryFdInfoKHR>(info.pNext, VK_STRUCTURE_TYPE_IMPORT_MEMORY_FD_INFO_KHR) != nullptr) {
    return;  // another's contents
  }
  void* data = nullptr;
  const vk::DispatchTable& driver = device.table();
  if (driver.MapMemory(device.handle(), memory, 0, VK_WHOLE_SIZE, 0, &data) != VK_SUCCESS) return;
  ZeroPages(data, info.allocationSize);
  driver.UnmapMemory(device.handle(), memory);
}

void Register(Session& session, const VkMemoryAllocateInfo& info, const wire::AllocateMemoryArgs& v) {
  const Device& device = session.device();
  const VkMemoryPropertyFlags flags = device.memory_properties().memoryTypes[info.memoryTypeIndex].propertyFlags;
  session.memories().Register({.table = &device.table(),
                               .device = v.device,
                               .memory = *v.pMemory,
                               .id = v.pMemory_ids[0],
                               .size = info.allocationSize,
                               .flushed = (flags & VK_MEMORY_PROPERTY_HOST_COHERENT_BIT) == 0,
                               .cached = (flags & VK_MEMORY_PROPERTY_HOST_CACHED_BIT) != 0,
                               .atom = device.limits().nonCoherentAtomSize,
                               .foreign = IsForeignMemory(v.pAllocateInfo->pNext)});
}

// The application imports memory of its own: here it is memory of the driver's that is kept equal to it, from the mapping
// on that the client announces. What may be bound to imported memory may be bound to that as well.
void AllocateForImport(Session& session, const vk::DispatchTable& driver, wire::AllocateMemoryArgs& v) {
  v.result = VK_ERROR_INVALID_EXTERNAL_HANDLE;
  if (!IsVisible(session, session.device(), v.pAllocateInfo->memoryTypeIndex)) return;
  VkMemoryAllocateInfo info = *v.pAllocateInfo;
  info.pNext = WithoutMember(info.pNext, VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT);
  // Whose size would have to be the resource's, and that of an import is in whole pages.
  info.pNext = WithoutMember(info.pNext, VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO);
  v.result = driver.AllocateMemory(v.device, &info, nullptr, v.pMemory);
  if (v.result != VK_SUCCESS) return;
  MakeZeros(session.device(), info, *v.pMemory);
  Register(session, info, v);
}

}  // namespace

void AllocateMemory(Session& session, const vk::DispatchTable& driver, wire::AllocateMemoryArgs& v) {
  const Device& device = session.device();
  CommandRun& run = session.run();
  run.memory = {};
  if (FindInChain<VkImportMemoryHostPointerInfoEXT>(v.pAllocateInfo->pNext,
                                                    VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT) != nullptr) {
    AllocateForImport(session, driver, v);
    return;
  }
  const bool visible = IsVisible(session, device, v.pAllocateInfo->memoryTypeIndex);
  if (visible && device.importer() != nullptr && run.wants_reply &&
      device.importer()->Allocate(*v.pAllocateInfo, v.pMemory, &run.memory)) {
    v.result = VK_SUCCESS;
    return;
  }
  if (run.wants_reply) {
    v.result = driver.AllocateMemory(v.device, v.pAllocateInfo, nullptr, v.pMemory);
  } else {
    v.result = session.device().memory_reserve().Allocate(*v.pAllocateInfo, v.pMemory);
  }
  if (v.result != VK_SUCCESS) return;
  MakeZeros(device, *v.pAllocateInfo, *v.pMemory);
  if (visible) Register(session, *v.pAllocateInfo, v);
}

void GetPhysicalDeviceMemoryProperties(Session& session, const vk::DispatchTable& driver,
                                       wire::GetPhysicalDeviceMemoryPropertiesArgs& v) {
  driver.GetPhysicalDeviceMemoryProperties(v.physicalDevice, v.pMemoryProperties);
  HideTypes(session, v.pMemoryProperties);
}

void GetPhysicalDeviceMemoryProperties2(Session& session, const vk::DispatchTable& driver,
                                        wire::GetPhysicalDeviceMemoryProperties2Args& v) {
  driver.GetPhysicalDeviceMemoryProperties2(v.physicalDevice, v.pMemoryProperties);
  HideTypes(session, &v.pMemoryProperties->memoryProperties);
  auto* budget = FindInChain<VkPhysicalDeviceMemoryBudgetPropertiesEXT>(
      v.pMemoryProperties->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT);
  if (budget == nullptr) return;
  for (Device* device : session.DevicesOf(&session.instance())) {  // what is kept for the client is not what it uses
    if (device->parts().physical_device != v.physicalDevice) continue;
    for (uint32_t i = 0; i < device->memory_properties().memoryHeapCount; ++i) {
      budget->heapUsage[i] -= std::min(budget->heapUsage[i], device->memory_reserve().Kept(i));
    }
  }
}

void FreeMemory(Session& session, const vk::DispatchTable& driver, wire::FreeMemoryArgs& v) {
  session.memories().Unregister(v.memory_id);
  Importer* importer = session.device().importer();
  const auto pages = importer == nullptr ? nullptr : importer->Take(v.memory);
  driver.FreeMemory(v.device, v.memory, nullptr);
  session.device().memory_reserve().Freed();
}

// The driver is asked about pages of this process: those of the application are tracked, wherever they are.
void GetMemoryHostPointerPropertiesEXT(Session& session, const vk::DispatchTable& driver,
                                       wire::GetMemoryHostPointerPropertiesEXTArgs& v) {
  v.result = VK_ERROR_INVALID_EXTERNAL_HANDLE;
  if (driver.GetMemoryHostPointerPropertiesEXT == nullptr) return;
  void* pages = mmap(nullptr, 2 * limits::kImportAlignment, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) {
    v.result = VK_ERROR_OUT_OF_HOST_MEMORY;
    return;
  }
  const uintptr_t aligned = (reinterpret_cast<uintptr_t>(pages) + limits::kImportAlignment - 1) /
                            limits::kImportAlignment * limits::kImportAlignment;
  v.result = driver.GetMemoryHostPointerPropertiesEXT(v.device, v.handleType, reinterpret_cast<const void*>(aligned),
                                                      v.pMemoryHostPointerProperties);
  munmap(pages, 2 * limits::kImportAlignment);
  uint32_t& types = v.pMemoryHostPointerProperties->memoryTypeBits;
  for (uint32_t i = 0; i < 32; ++i) {
    if (!IsVisible(session, session.device(), i)) types &= ~(1u << i);
  }
}

}  // namespace vesper::server::overrides
