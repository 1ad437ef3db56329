// Where everything starts: the Vulkan instance, the devices it offers and which of them is best.
// Public: see docs/compute.md.
#pragma once

#include <vulkan/vulkan.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vesper/compute/export.h"

namespace vesper::compute {

enum class LogLevel { kDebug, kInfo, kWarning, kError };
using LogFunction = std::function<void(LogLevel level, const std::string& message)>;

// Where messages go: of this library and, with validation, of the layer. For the whole process; it
// may be called on any thread. Without one, warnings and errors go to stderr; nullptr restores
// that.
VESPER_COMPUTE_API void SetLogFunction(LogFunction function);

struct InstanceOptions {
  std::string application_name = "vesper-compute";
  // The validation layer with its messages in the log. Without a value: as
  // VESPER_COMPUTE_VALIDATION (0 or 1) says, else on in debug builds of this library. A layer that
  // is not installed is a warning.
  std::optional<bool> validation = {};
};

struct DeviceDescription {
  uint32_t index = 0;  // among the instance's devices, in their order
  VkPhysicalDevice handle = VK_NULL_HANDLE;
  std::string name;
  VkPhysicalDeviceType type = VK_PHYSICAL_DEVICE_TYPE_OTHER;
  uint32_t api_version = 0;
  uint64_t device_memory = 0;  // bytes, all device-local heaps
  bool has_compute_queue = false;
  bool has_timelines = false;  // Vulkan 1.2 with timeline semaphores, which this library needs
  bool usable() const { return has_compute_queue && has_timelines; }
  // Discrete 1000, integrated 100, others 0, and 1 for each GiB of device memory.
  uint64_t score = 0;
};

// Thread-safe. Devices made from it keep it alive.
class VESPER_COMPUTE_API Instance {
 public:
  // True when there is a device that can be used. Never throws; makes the shared instance.
  static bool IsAvailable() noexcept;

  // The process's instance, made on first use with default options and kept until the process ends
  // or ReleaseShared. Throws NotAvailable or InitializationFailed; the next call then tries again.
  static std::shared_ptr<Instance> Shared();
  // Forgets the shared instance: it ends with its last user, and the next Shared() makes another.
  static void ReleaseShared();

  explicit Instance(const InstanceOptions& options = {});
  ~Instance();
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  VkInstance handle() const;
  bool validation() const;
  // How many warnings and errors the validation layer has given so far.
  uint64_t validation_messages() const;
  // All devices, usable or not, as they were when the instance was made.
  const std::vector<DeviceDescription>& devices() const;

  // The device that `selector` names: an index ("1"), part of a name ("h200", case ignored; the
  // best of several), or "" for VESPER_COMPUTE_DEVICE and, where that is not set either, the best
  // score (of equals the first). Throws NoDeviceFound, or NoComputeQueue when what was found is not
  // usable.
  const DeviceDescription& Select(std::string_view selector = "") const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vesper::compute
