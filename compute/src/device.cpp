#include "vesper/compute/device.h"

#include "compute/src/device_state.h"

namespace vesper::compute {

Device::Device(const DeviceOptions& options) : state_(std::make_shared<DeviceState>(options)) {}
Device::~Device() = default;
Device::Device(Device&&) noexcept = default;
Device& Device::operator=(Device&&) noexcept = default;

VkDevice Device::handle() const { return state_->handle(); }
VkPhysicalDevice Device::physical_device() const { return state_->physical_device(); }
const std::shared_ptr<Instance>& Device::instance() const { return state_->instance(); }
const DeviceDescription& Device::description() const { return state_->description(); }
const VkPhysicalDeviceProperties& Device::properties() const { return state_->properties(); }
const DeviceFeatures& Device::features() const { return state_->features(); }
bool Device::has_extension(const char* name) const { return state_->extensions().contains(name); }
uint32_t Device::compute_family() const { return state_->compute().family(); }
uint32_t Device::transfer_family() const { return state_->transfer().family(); }
bool Device::has_transfer_queue() const { return state_->has_transfer_queue(); }

void Device::Sync() const { state_->Sync(state_->options().timeout); }
void Device::Sync(std::chrono::nanoseconds timeout) const { state_->Sync(timeout); }

MemoryStatistics Device::memory_statistics() const {
  state_->Collect();
  return state_->allocator().statistics();
}

std::filesystem::path Device::CacheFile(const std::string& stem, const std::string& suffix) const {
  return state_->CacheFile(stem, suffix);
}

void Device::SavePipelines() const { state_->pipeline_cache().Save(); }

}  // namespace vesper::compute
