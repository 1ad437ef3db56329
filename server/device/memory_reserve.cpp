#include "server/device/memory_reserve.h"

#include <algorithm>

#include "server/base/limits.h"
#include "server/channel/events.h"

namespace vesper::server {
namespace {

bool IsExhausted(VkResult result) {
  return result == VK_ERROR_OUT_OF_DEVICE_MEMORY || result == VK_ERROR_OUT_OF_HOST_MEMORY ||
         result == VK_ERROR_TOO_MANY_OBJECTS;
}

}  // namespace

void MemoryReserve::Keep(const wire::MemoryCreditRequest& request) {
  if (request.type >= parts_.memory->memoryTypeCount) return;
  const uint32_t index = parts_.memory->memoryTypes[request.type].heapIndex;
  const MutexLock lock(mutex_);
  Heap& heap = heaps_[index];
  heap.type = request.type;
  heap.request = request.request;
  const uint64_t most = std::min(limits::kMostReserve, parts_.memory->memoryHeaps[index].size / limits::kReserveShare);
  heap.wanted = std::min(request.bytes, most);
  if (heap.wanted != heap.bytes) Resize(&heap, heap.wanted);
  Tell(index);
}

VkResult MemoryReserve::Allocate(const VkMemoryAllocateInfo& info, VkDeviceMemory* memory) {
  if (info.memoryTypeIndex >= parts_.memory->memoryTypeCount) return VK_ERROR_OUT_OF_DEVICE_MEMORY;
  const uint32_t index = parts_.memory->memoryTypes[info.memoryTypeIndex].heapIndex;
  const MutexLock lock(mutex_);
  Heap& heap = heaps_[index];
  VkResult result = parts_.table->AllocateMemory(parts_.device, &info, nullptr, memory);
  const bool makes_way = IsExhausted(result) && heap.bytes != 0;
  if (makes_way) {
    const uint64_t before = heap.bytes;
    Resize(&heap, 0);
    result = parts_.table->AllocateMemory(parts_.device, &info, nullptr, memory);
    Resize(&heap, before - std::min(before, result == VK_SUCCESS ? info.allocationSize : 0));
  }
  ++heap.taken;
  heap.untold += info.allocationSize;
  if (makes_way || heap.untold >= heap.bytes / limits::kReserveTold ||
      heap.taken - heap.told >= limits::kAllocationsTold) {
    Tell(index);
  }
  return result;
}

void MemoryReserve::Freed() {
  const MutexLock lock(mutex_);
  for (uint32_t index = 0; index < parts_.memory->memoryHeapCount; ++index) {
    Heap& heap = heaps_[index];
    if (heap.bytes == heap.wanted) continue;
    const uint64_t before = heap.bytes;
    Resize(&heap, heap.wanted);
    if (heap.bytes == 0 && before != 0) Resize(&heap, before);
    if (heap.bytes != before) Tell(index);
  }
}

uint64_t MemoryReserve::Kept(uint32_t heap) {
  const MutexLock lock(mutex_);
  return heaps_[heap].bytes;
}

void MemoryReserve::Drop() {
  const MutexLock lock(mutex_);
  for (Heap& heap : heaps_) {
    heap.wanted = 0;
    Resize(&heap, 0);
  }
}

// What is there goes first: both together may be more than there is.
void MemoryReserve::Resize(Heap* heap, uint64_t bytes) const {
  if (heap->memory != VK_NULL_HANDLE) parts_.table->FreeMemory(parts_.device, heap->memory, nullptr);
  heap->memory = VK_NULL_HANDLE;
  heap->bytes = 0;
  if (bytes == 0) return;
  VkMemoryAllocateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
  info.allocationSize = bytes;
  info.memoryTypeIndex = heap->type;
  if (parts_.table->AllocateMemory(parts_.device, &info, nullptr, &heap->memory) == VK_SUCCESS) {
    heap->bytes = bytes;
  } else {
    heap->memory = VK_NULL_HANDLE;
  }
}

void MemoryReserve::Tell(uint32_t index) {
  Heap& heap = heaps_[index];
  heap.told = heap.taken;
  heap.untold = 0;
  parts_.events->MemoryCredit({parts_.id, index, heap.request, heap.bytes, heap.taken});
}

}  // namespace vesper::server
