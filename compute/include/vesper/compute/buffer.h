// Memory of the device, and the copies to and from it.
//
// Order: everything that this library submits for a buffer (launches, copies, on whichever queue,
// by whichever thread) happens in the order of the calls, and each sees what those before it wrote.
// Public: see docs/compute.md.
#pragma once

#include <vulkan/vulkan.h>

#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>

#include "vesper/compute/device.h"
#include "vesper/compute/export.h"
#include "vesper/compute/submission.h"

namespace vesper::compute {

class BufferState;  // src/buffer_state.h

enum class HostAccess {
  // Where device-local memory is host-visible and cached (CPUs, integrated GPUs), copies are the
  // host's, which maps a buffer only for that; else staged. A discrete GPU's visible memory is not
  // chosen by itself: the CPU reads it slowly.
  kAuto,
  kStaged,  // device-local memory; copies go through staging memory
  // Device-local memory that is host-visible, mapped as long as the buffer lives, where there is
  // such; else staged (see is_mapped()). A driver that forwards to another process carries what is
  // mapped back and forth, whenever the device did something.
  kMapped,
};

struct BufferOptions {
  // What it is used for beside copies, which are always possible: storage, uniform, …
  VkBufferUsageFlags usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT;
  HostAccess host_access = HostAccess::kAuto;
};

// Move-only. May be destroyed while the device still uses it: memory returns when that is done.
class VESPER_COMPUTE_API Buffer {
 public:
  // Throws BufferError for 0 bytes, AllocationFailed.
  Buffer(const Device& device, uint64_t bytes, const BufferOptions& options = {});
  ~Buffer();
  Buffer(Buffer&&) noexcept;
  Buffer& operator=(Buffer&&) noexcept;

  VkBuffer handle() const;
  uint64_t size() const;  // bytes, as asked for
  VkBufferUsageFlags usage() const;
  bool is_mapped() const;
  // The host's address, good for as long as the buffer lives. What the host does with it is ordered
  // with the device's work by the caller alone (Submission::Wait, WaitForHost). Throws NotMapped.
  void* mapped() const;
  // Waits until the device no longer uses the buffer.
  void WaitForHost(std::chrono::nanoseconds timeout = kDefaultTimeout) const;

  // Returns when `data` has been taken; the copy may still be under way, and later work sees it.
  // Staged copies use the transfer queue where there is one and overlap with computing on other
  // buffers. Larger ones than the staging ring stream through it, the CPU filling one part while
  // the device copies others. Throws BufferTooSmall, SyncError.
  Submission Upload(const void* data, uint64_t bytes, uint64_t offset = 0);
  // Returns when `data` is filled, with what all work submitted before wrote.
  void Download(void* data, uint64_t bytes, uint64_t offset = 0) const;

  template <typename T, size_t N>
  Submission Upload(std::span<T, N> data, uint64_t offset = 0) {
    static_assert(std::is_trivially_copyable_v<T>);
    return Upload(data.data(), data.size_bytes(), offset);
  }
  template <typename T, size_t N>
  void Download(std::span<T, N> data, uint64_t offset = 0) const {
    static_assert(std::is_trivially_copyable_v<T> && !std::is_const_v<T>);
    Download(data.data(), data.size_bytes(), offset);
  }

  const std::shared_ptr<BufferState>& state() const { return state_; }

 private:
  std::shared_ptr<DeviceState> device_;  // outlives state_
  std::shared_ptr<BufferState> state_;
};

// A part of a buffer, or all of it: what a kernel's binding gets.
struct BufferRange {
  BufferRange(const Buffer& whole) : buffer(&whole) {}  // NOLINT: a buffer is a range
  BufferRange(const Buffer& of, uint64_t from, uint64_t length) : buffer(&of), offset(from), bytes(length) {}

  const Buffer* buffer;  // must live until the call that gets it returns
  uint64_t offset = 0;   // a multiple of minStorageBufferOffsetAlignment
  uint64_t bytes = VK_WHOLE_SIZE;
};

}  // namespace vesper::compute
