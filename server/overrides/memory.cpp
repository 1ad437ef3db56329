// Host-visible memory is known to the session's memory table while it lives.
#include "generated/server/overrides.h"
#include "server/memory_types.h"
#include "server/session.h"

namespace vesper::server::overrides {

void AllocateMemory(Session& session, const vk::DispatchTable& driver,
                    wire::AllocateMemoryArgs& v) {
  v.result = driver.AllocateMemory(v.device, v.pAllocateInfo, nullptr, v.pMemory);
  if (v.result != VK_SUCCESS) return;
  const Device& device = session.device();
  const VkPhysicalDeviceMemoryProperties& properties = device.memory_properties();
  if (v.pAllocateInfo->memoryTypeIndex >= properties.memoryTypeCount) return;
  VkPhysicalDeviceMemoryProperties told = properties;
  if (session.reads_mapped_memory()) HideUncachedTypes(&told);
  const uint32_t type = v.pAllocateInfo->memoryTypeIndex;
  if ((told.memoryTypes[type].propertyFlags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) == 0) return;
  const VkMemoryPropertyFlags flags = properties.memoryTypes[type].propertyFlags;
  session.memories().Register({.table = &device.table(),
                               .device = v.device,
                               .memory = *v.pMemory,
                               .id = v.pMemory_ids[0],
                               .size = v.pAllocateInfo->allocationSize,
                               .flushed = (flags & VK_MEMORY_PROPERTY_HOST_COHERENT_BIT) == 0,
                               .cached = (flags & VK_MEMORY_PROPERTY_HOST_CACHED_BIT) != 0,
                               .atom = device.limits().nonCoherentAtomSize});
}

void GetPhysicalDeviceMemoryProperties(Session& session, const vk::DispatchTable& driver,
                                       wire::GetPhysicalDeviceMemoryPropertiesArgs& v) {
  driver.GetPhysicalDeviceMemoryProperties(v.physicalDevice, v.pMemoryProperties);
  if (session.reads_mapped_memory()) HideUncachedTypes(v.pMemoryProperties);
}

void GetPhysicalDeviceMemoryProperties2(Session& session, const vk::DispatchTable& driver,
                                        wire::GetPhysicalDeviceMemoryProperties2Args& v) {
  driver.GetPhysicalDeviceMemoryProperties2(v.physicalDevice, v.pMemoryProperties);
  if (session.reads_mapped_memory()) HideUncachedTypes(&v.pMemoryProperties->memoryProperties);
}

void FreeMemory(Session& session, const vk::DispatchTable& driver, wire::FreeMemoryArgs& v) {
  session.memories().Unregister(v.memory_id);
  driver.FreeMemory(v.device, v.memory, nullptr);
}

}  // namespace vesper::server::overrides
