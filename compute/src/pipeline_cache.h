// The VkPipelineCache and its file. A driver may trust what it is given, so only data that carries
// our checksum and this device's own header gets there; anything else is ignored.
#pragma once

#include <vulkan/vulkan.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <vector>

namespace vesper::compute {

class PipelineCache {
 public:
  // Without `file` nothing is read or written. Throws InitializationFailed.
  PipelineCache(VkDevice device, const VkPhysicalDeviceProperties& properties, std::filesystem::path file);
  ~PipelineCache();
  PipelineCache(const PipelineCache&) = delete;
  PipelineCache& operator=(const PipelineCache&) = delete;

  VkPipelineCache handle() const { return handle_; }
  // A pipeline was made with it: there may be something to write.
  void Touch() { touched_ = true; }
  // Writes the file if the data has changed, whole or not at all. Trouble is logged.
  void Save();

 private:
  std::vector<std::byte> Load(const VkPhysicalDeviceProperties& properties);
  // Empty when it cannot be had.
  std::vector<std::byte> Data() const;

  const VkDevice device_;
  const std::filesystem::path file_;
  VkPipelineCache handle_ = VK_NULL_HANDLE;
  std::atomic<bool> touched_ = false;
  std::mutex mutex_;
  uint64_t saved_hash_ = 0;
};

}  // namespace vesper::compute
