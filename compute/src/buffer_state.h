// What a Buffer is. Kept alive by the handle and by submissions that use it; always ends before its
// device.
#pragma once

#include <vulkan/vulkan.h>

#include <cstdint>

#include "compute/src/allocator.h"
#include "compute/src/queue.h"
#include "vesper/compute/buffer.h"

namespace vesper::compute {

class DeviceState;

class BufferState {
 public:
  BufferState(DeviceState* device, uint64_t bytes, const BufferOptions& options);
  ~BufferState();
  BufferState(const BufferState&) = delete;
  BufferState& operator=(const BufferState&) = delete;

  DeviceState* device() const { return device_; }
  VkBuffer handle() const { return handle_; }
  uint64_t bytes() const { return bytes_; }
  VkBufferUsageFlags usage() const { return usage_; }
  const Allocation& memory() const { return memory_; }
  // The host reaches it through HostRange, and reads it fast.
  bool is_visible() const { return is_visible_; }
  bool is_cached() const { return is_cached_; }

  // The latest submission of each queue that reads or writes it; guarded by the submit mutex.
  struct Uses {
    uint64_t any[kMaxQueues] = {};
    uint64_t write[kMaxQueues] = {};
  };
  Uses uses;

 private:
  void Bind(HostAccess access);

  DeviceState* const device_;
  const uint64_t bytes_;
  const VkBufferUsageFlags usage_;
  VkBuffer handle_ = VK_NULL_HANDLE;
  Allocation memory_;
  bool is_visible_ = false;
  bool is_cached_ = false;
};

}  // namespace vesper::compute
