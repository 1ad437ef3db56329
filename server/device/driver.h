// The real Vulkan below the server: the system's loader, instances made the server's way, and which
// GPUs are offered. Used by workers, and by the short-lived probe; never by the supervisor.
#pragma once

#include <vulkan/vulkan.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "generated/vk/dispatch_table.h"
#include "server/device/device.h"
#include "server/memory/shared_pages.h"

namespace vesper::server {

struct DriverOptions {
  bool validation = false;
  bool strict = false;  // what the validation layer calls an error does not reach the driver
  bool validate_shaders = false;
  std::string gpu;                // an index into the scored list or part of a name; empty: all
  uint64_t max_shared_bytes = 0;  // of a session; 0: half of the machine's memory
};

// Makes this process see neither Vesper's own ICD nor implicit layers. Before Load(), and before
// other threads start.
void PrepareDriverEnvironment();

// Thread-safe once loaded.
class Driver {
 public:
  // nullptr with a sentence about what to install.
  static std::unique_ptr<Driver> Load(const DriverOptions& options, std::string* error);
  // The same on a loader that is there already.
  static std::unique_ptr<Driver> Of(PFN_vkGetInstanceProcAddr get_proc_addr, const DriverOptions& options);
  ~Driver() = default;  // the loader's library stays loaded

  const vk::DispatchTable& global() const { return global_.table; }
  const DispatchContext& global_context() const { return global_; }
  const DriverOptions& options() const { return options_; }
  SharedBudget& shared_budget() { return shared_budget_; }
  // The version offered: the loader's, or what this server's registry knows when that is less.
  uint32_t api_version() const { return api_version_; }

  // Makes an instance of the create-info as a client sent it: version and extensions by policy, no
  // layers of the client, only the server's callbacks, the validation layer when asked for.
  VkResult CreateInstance(const VkInstanceCreateInfo& wanted, std::unique_ptr<Instance>* instance);
  void DestroyInstance(Instance* instance);
  // Chooses and orders `instance->physical_devices`.
  VkResult FindPhysicalDevices(Instance* instance);

  // Ends the driver's instance and keeps what is known of it; Resume() makes it again of the same create-info, with the same
  // physical devices by other handles. The dispatch context stays where it is. On a failure it stays as it was.
  void Suspend(Instance* instance);
  VkResult Resume(Instance* instance);

  // Keeps the driver's libraries in memory, by an instance that needs nothing of the above; LetGo() ends that.
  void KeepLoaded();
  void LetGo();

  PFN_vkGetDeviceProcAddr GetDeviceProcAddr(VkInstance instance) const;

 private:
  explicit Driver(const DriverOptions& options) : options_(options), shared_budget_(options.max_shared_bytes) {}

  const DriverOptions options_;
  PFN_vkGetInstanceProcAddr get_proc_addr_ = nullptr;
  DispatchContext global_;
  VkInstance bare_ = VK_NULL_HANDLE;  // keeps libraries in memory
  uint32_t api_version_ = VK_API_VERSION_1_0;
  SharedBudget shared_budget_;
};

// The extensions that the driver gets of those a client enabled; false when one was not offered. `same_kernel`: the client
// is on this machine.
bool ChooseExtensions(std::span<const char* const> wanted, bool same_kernel, std::vector<const char*>* chosen);
// What clients use of the driver's extensions, in its order. The names of those that nobody is
// offered go to `hidden`, if given; the rest are what the client library does by itself.
std::vector<VkExtensionProperties> Offered(std::vector<VkExtensionProperties> extensions, bool same_kernel,
                                           std::vector<std::string>* hidden = nullptr);

// Discrete before integrated before virtual before CPU.
int ScoreOf(VkPhysicalDeviceType type);

// Which of `names` (best first) `wanted` means: an index or part of a name in any case; empty means
// all.
std::vector<size_t> MatchGpus(const std::vector<std::string>& names, const std::string& wanted);

}  // namespace vesper::server
