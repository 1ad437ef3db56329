// A GPU to compute with: queues, memory, pipeline cache. Buffers, kernels and submissions hold on
// to what they need of it, so the handles may be destroyed in any order; the VkDevice ends with the
// last of them, after its work has finished.
// Public: see docs/compute.md.
#pragma once

#include <vulkan/vulkan.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "vesper/compute/export.h"
#include "vesper/compute/instance.h"

namespace vesper::compute {

class DeviceState;  // src/device_state.h

// How long waiting lasts unless a call says otherwise.
inline constexpr std::chrono::nanoseconds kDefaultTimeout = std::chrono::seconds(5);

struct DeviceOptions {
  std::string selector;                // see Instance::Select
  std::shared_ptr<Instance> instance;  // the shared one if null
  // Pipelines are kept in cache_folder (empty: VESPER_COMPUTE_CACHE,
  // $XDG_CACHE_HOME/vesper-compute,
  // ~/.cache/vesper-compute), one file for each device UUID and driver UUID.
  bool keep_pipelines = true;
  std::filesystem::path cache_folder;
  // Host memory through which copies stream, made when first needed.
  uint64_t staging_bytes = uint64_t{64} << 20;
  // How much is asked of the driver at a time for buffers; larger buffers get memory of their own.
  uint64_t block_bytes = uint64_t{64} << 20;
  // For waits that a call has no limit for: Download, Sync, one-shot helpers.
  std::chrono::nanoseconds timeout = kDefaultTimeout;
};

// What is enabled: everything useful to compute that the device has.
struct DeviceFeatures {
  bool float16 = false;  // arithmetic
  bool float64 = false;
  bool int8 = false;
  bool int16 = false;
  bool int64 = false;
  bool storage8 = false;  // 8- and 16-bit values in storage buffers
  bool storage16 = false;
  bool memory_model = false;  // Vulkan's memory model, and with device scope
  bool memory_model_device_scope = false;
  bool buffer_address = false;
  bool subgroup_size_control = false;   // KernelOptions::subgroup_size
  bool cooperative_matrix_nv = false;   // VK_NV_cooperative_matrix
  bool cooperative_matrix_khr = false;  // VK_KHR_cooperative_matrix, where the headers know it
  uint32_t subgroup_size = 0;
  uint32_t min_subgroup_size = 0;  // with subgroup_size_control
  uint32_t max_subgroup_size = 0;
};

struct MemoryStatistics {
  uint64_t blocks = 0;              // vkAllocateMemory now outstanding
  uint64_t bytes_reserved = 0;      // in them
  uint64_t buffers = 0;             // allocations now outstanding
  uint64_t bytes_used = 0;          // by them
  uint64_t allocations_made = 0;    // since the beginning
  uint64_t driver_allocations = 0;  // vkAllocateMemory since the beginning
};

// Thread-safe, and so is everything made from it unless it says otherwise.
class VESPER_COMPUTE_API Device {
 public:
  // Throws NotAvailable, NoDeviceFound, NoComputeQueue, DeviceCreationFailed, InitializationFailed.
  explicit Device(const DeviceOptions& options = {});
  // Another handle of the same device.
  explicit Device(std::shared_ptr<DeviceState> state) : state_(std::move(state)) {}
  ~Device();
  Device(Device&&) noexcept;
  Device& operator=(Device&&) noexcept;

  VkDevice handle() const;
  VkPhysicalDevice physical_device() const;
  const std::shared_ptr<Instance>& instance() const;
  const DeviceDescription& description() const;
  const VkPhysicalDeviceProperties& properties() const;
  const DeviceFeatures& features() const;
  bool has_extension(const char* name) const;  // offered and enabled
  uint32_t compute_family() const;
  uint32_t transfer_family() const;
  // Copies run on a queue of their own, beside computing.
  bool has_transfer_queue() const;

  // Waits for everything submitted so far. Throws SyncError naming what was not done in time.
  void Sync() const;
  void Sync(std::chrono::nanoseconds timeout) const;

  MemoryStatistics memory_statistics() const;

  // A file for what is measured or made once for this device and driver: cache folder, `stem`, the
  // UUIDs and `suffix`. Empty when nothing is kept.
  std::filesystem::path CacheFile(const std::string& stem, const std::string& suffix) const;
  // Writes the pipeline cache if there is something new; so does the end of the device. Trouble
  // with the file is a warning in the log.
  void SavePipelines() const;

  // For the library's own parts.
  const std::shared_ptr<DeviceState>& state() const { return state_; }

 private:
  std::shared_ptr<DeviceState> state_;
};

}  // namespace vesper::compute
