#include "client/memory/memory_report.h"

#include "runtime/vk/chain.h"

namespace vesper::client {
namespace {

VkDeviceMemoryReportCallbackDataEXT About(VkDeviceMemoryReportEventTypeEXT type, ObjectId memory) {
  VkDeviceMemoryReportCallbackDataEXT what{};
  what.sType = VK_STRUCTURE_TYPE_DEVICE_MEMORY_REPORT_CALLBACK_DATA_EXT;
  what.type = type;
  what.memoryObjectId = memory;
  what.objectType = VK_OBJECT_TYPE_DEVICE_MEMORY;
  what.objectHandle = memory;  // the handle is the id
  return what;
}

}  // namespace

void MemoryReport::Take(const void* chain) {
  for (const VkBaseInStructure& member : ChainOf(chain)) {
    if (member.sType != VK_STRUCTURE_TYPE_DEVICE_DEVICE_MEMORY_REPORT_CREATE_INFO_EXT) continue;
    const auto& asked = As<VkDeviceDeviceMemoryReportCreateInfoEXT>(member);
    callbacks_.push_back({asked.pfnUserCallback, asked.pUserData});
  }
}

void MemoryReport::Say(const VkDeviceMemoryReportCallbackDataEXT& what) const {
  for (const Callback& each : callbacks_) each.function(&what, each.data);
}

void MemoryReport::Allocated(ObjectId memory, const VkMemoryAllocateInfo& info, bool imported,
                             const VkPhysicalDeviceMemoryProperties& properties) const {
  if (callbacks_.empty()) return;
  VkDeviceMemoryReportEventTypeEXT type = VK_DEVICE_MEMORY_REPORT_EVENT_TYPE_ALLOCATE_EXT;
  if (memory == kNullObject) {
    type = VK_DEVICE_MEMORY_REPORT_EVENT_TYPE_ALLOCATION_FAILED_EXT;
  } else if (imported) {
    type = VK_DEVICE_MEMORY_REPORT_EVENT_TYPE_IMPORT_EXT;
  }
  VkDeviceMemoryReportCallbackDataEXT what = About(type, memory);
  what.size = info.allocationSize;
  if (info.memoryTypeIndex < properties.memoryTypeCount) {
    what.heapIndex = properties.memoryTypes[info.memoryTypeIndex].heapIndex;
  }
  Say(what);
}

void MemoryReport::Freed(ObjectId memory, bool imported) const {
  if (callbacks_.empty()) return;
  Say(About(imported ? VK_DEVICE_MEMORY_REPORT_EVENT_TYPE_UNIMPORT_EXT : VK_DEVICE_MEMORY_REPORT_EVENT_TYPE_FREE_EXT,
            memory));
}

}  // namespace vesper::client
