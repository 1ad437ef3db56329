// Memory for buffers: a few large blocks of the driver's, parted here. Only buffers live in them,
// so bufferImageGranularity does not matter.
#pragma once

#include <vulkan/vulkan.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "vesper/compute/device.h"

namespace vesper::compute {

class MemoryBlock;

struct Allocation {
  MemoryBlock* block = nullptr;
  VkDeviceMemory memory = VK_NULL_HANDLE;
  uint64_t offset = 0;
  uint64_t bytes = 0;
  void* mapped = nullptr;  // the host's address of `offset`, if the block is mapped for good
};

// A part of an allocation of host-visible memory where the host reaches it, as long as this lives.
// A block that is not mapped for good has one such part at a time; others wait for it to end.
class HostRange {
 public:
  // Throws BufferError.
  HostRange(const Allocation& allocation, uint64_t offset, uint64_t bytes);
  ~HostRange();
  HostRange(const HostRange&) = delete;
  HostRange& operator=(const HostRange&) = delete;

  std::byte* data() const { return data_; }

 private:
  MemoryBlock* block_ = nullptr;  // to be unmapped
  std::byte* data_ = nullptr;
};

// vkBindBufferMemory, while no thread maps or unmaps the same memory. Throws AllocationFailed.
void BindBuffer(const Allocation& allocation, VkBuffer buffer);

// What memory is for. A mapping that lasts costs nothing with a local driver; one that forwards to
// another process has to look through it whenever the device has done something that may have
// written to it. So only what the host writes alone, or what the caller wants so, stays mapped.
enum class MemoryKind {
  kDevice,
  kHost,      // the device's and host-visible; reached through HostRange
  kMapped,    // the same, mapped for good
  kUpload,    // the host's, mapped for good
  kDownload,  // the host's, in blocks of their own, reached through HostRange
};

// Thread-safe.
class Allocator {
 public:
  Allocator(VkPhysicalDevice physical_device, VkDevice device, uint64_t block_bytes);
  ~Allocator();

  // The type among `type_bits` for `kind`, or UINT32_MAX. kHost and kMapped: device-local and
  // host-visible; with `cached`, only such that the host reads fast.
  uint32_t FindType(uint32_t type_bits, MemoryKind kind, bool cached = false) const;
  bool is_cached(uint32_t type) const {
    return (properties_.memoryTypes[type].propertyFlags & VK_MEMORY_PROPERTY_HOST_CACHED_BIT) != 0;
  }

  // Throws AllocationFailed.
  Allocation Allocate(const VkMemoryRequirements& requirements, uint32_t type, MemoryKind kind);
  void Free(const Allocation& allocation);
  MemoryStatistics statistics() const;

 private:
  MemoryBlock* MakeBlock(uint32_t type, bool mapped, uint64_t bytes, uint64_t wanted);
  std::unique_ptr<MemoryBlock> TryMakeBlock(uint32_t type, bool mapped, uint64_t bytes, VkResult* result);
  uint64_t BlockBytes(uint32_t type) const;

  const VkDevice device_;
  const uint64_t block_bytes_;
  VkPhysicalDeviceMemoryProperties properties_;
  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<MemoryBlock>> blocks_;
  MemoryStatistics statistics_;
};

}  // namespace vesper::compute
