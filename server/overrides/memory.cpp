// Host-visible memory: shared with the client (server/import.h), or known to the session's memory table while it lives.
#include <sys/mman.h>

#include "generated/server/overrides.h"
#include "server/chain.h"
#include "server/session.h"

namespace vesper::server::overrides {
namespace {

// What an import needs to be aligned to at most (limits of VK_EXT_external_memory_host).
constexpr size_t kImportAlignment = 64 * 1024;

HostMemory Describe(const Device& device, const VkMemoryAllocateInfo& info, VkDeviceMemory memory, ObjectId id) {
  const VkMemoryPropertyFlags flags = device.memory_properties().memoryTypes[info.memoryTypeIndex].propertyFlags;
  return {.table = &device.table(),
          .device = device.handle(),
          .memory = memory,
          .id = id,
          .size = info.allocationSize,
          .coherent = (flags & VK_MEMORY_PROPERTY_HOST_COHERENT_BIT) != 0,
          .atom = device.limits().nonCoherentAtomSize};
}

bool IsVisible(const Device& device, uint32_t type) {
  const VkPhysicalDeviceMemoryProperties& properties = device.memory_properties();
  return type < properties.memoryTypeCount &&
         (properties.memoryTypes[type].propertyFlags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) != 0;
}

// The application imports memory of its own: here it is memory of the driver's that is kept equal to it. What may be bound
// to imported memory may be bound to that as well.
void AllocateForImport(Session& session, const vk::DispatchTable& driver, wire::AllocateMemoryArgs& v) {
  const Device& device = session.device();
  v.result = VK_ERROR_INVALID_EXTERNAL_HANDLE;
  if (!IsVisible(device, v.pAllocateInfo->memoryTypeIndex)) return;
  VkMemoryAllocateInfo info = *v.pAllocateInfo;
  info.pNext = WithoutMember(info.pNext, VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT);
  // Whose size would have to be the resource's, and that of an import is in whole pages.
  info.pNext = WithoutMember(info.pNext, VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO);
  v.result = driver.AllocateMemory(v.device, &info, nullptr, v.pMemory);
  if (v.result != VK_SUCCESS) return;
  if (session.memories().RegisterImport(Describe(device, info, *v.pMemory, v.pMemory_ids[0]))) return;
  driver.FreeMemory(v.device, *v.pMemory, nullptr);
  v.result = VK_ERROR_OUT_OF_HOST_MEMORY;
}

}  // namespace

void AllocateMemory(Session& session, const vk::DispatchTable& driver,
                    wire::AllocateMemoryArgs& v) {
  const Device& device = session.device();
  CommandRun& run = session.run();
  run.descriptor = {};
  if (FindInChain<VkImportMemoryHostPointerInfoEXT>(v.pAllocateInfo->pNext,
                                                    VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT) != nullptr) {
    AllocateForImport(session, driver, v);
    return;
  }
  if (device.importer() != nullptr && run.wants_reply &&
      device.importer()->Allocate(*v.pAllocateInfo, v.pMemory, &run.descriptor)) {
    v.result = VK_SUCCESS;
    return;
  }
  v.result = driver.AllocateMemory(v.device, v.pAllocateInfo, nullptr, v.pMemory);
  if (v.result != VK_SUCCESS || !IsVisible(device, v.pAllocateInfo->memoryTypeIndex)) return;
  session.memories().Register(Describe(device, *v.pAllocateInfo, *v.pMemory, v.pMemory_ids[0]));
}

void FreeMemory(Session& session, const vk::DispatchTable& driver, wire::FreeMemoryArgs& v) {
  session.memories().Unregister(v.memory_id);
  Importer* importer = session.device().importer();
  const auto pages = importer == nullptr ? nullptr : importer->Take(v.memory);
  driver.FreeMemory(v.device, v.memory, nullptr);
}

// The driver is asked about pages of this process: those of the application are tracked, wherever they are.
void GetMemoryHostPointerPropertiesEXT(Session& session, const vk::DispatchTable& driver,
                                       wire::GetMemoryHostPointerPropertiesEXTArgs& v) {
  v.result = VK_ERROR_INVALID_EXTERNAL_HANDLE;
  if (driver.GetMemoryHostPointerPropertiesEXT == nullptr) return;
  void* pages = mmap(nullptr, 2 * kImportAlignment, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) {
    v.result = VK_ERROR_OUT_OF_HOST_MEMORY;
    return;
  }
  const uintptr_t aligned = (reinterpret_cast<uintptr_t>(pages) + kImportAlignment - 1) / kImportAlignment * kImportAlignment;
  v.result = driver.GetMemoryHostPointerPropertiesEXT(v.device, v.handleType, reinterpret_cast<const void*>(aligned),
                                                      v.pMemoryHostPointerProperties);
  munmap(pages, 2 * kImportAlignment);
  uint32_t& types = v.pMemoryHostPointerProperties->memoryTypeBits;
  for (uint32_t i = 0; i < 32; ++i) {
    if (!IsVisible(session.device(), i)) types &= ~(1u << i);
  }
}

}  // namespace vesper::server::overrides
