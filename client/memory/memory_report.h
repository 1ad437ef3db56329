// VK_EXT_device_memory_report, which is the client's own: its callbacks are the application's. Said is what the application
// allocates, imports and frees, as it is seen from here; what a driver keeps for itself is the server's machine's.
#pragma once

#include <vulkan/vulkan.h>

#include <cstdint>
#include <vector>

#include "runtime/object_id.h"

namespace vesper::client {

// Of one device. Any thread, once it is made.
class MemoryReport {
 public:
  // `chain` is that of VkDeviceCreateInfo. May throw std::bad_alloc.
  void Take(const void* chain);

  // kNullObject: it failed.
  void Allocated(ObjectId memory, const VkMemoryAllocateInfo& info, bool imported,
                 const VkPhysicalDeviceMemoryProperties& properties) const;
  void Freed(ObjectId memory, bool imported) const;

 private:
  struct Callback {
    PFN_vkDeviceMemoryReportCallbackEXT function;
    void* data;
  };
  void Say(const VkDeviceMemoryReportCallbackDataEXT& what) const;

  std::vector<Callback> callbacks_;
};

}  // namespace vesper::client
