// A device's pipeline cache of the server's own, which pipelines are made with whose program names none.
#pragma once

#include <vulkan/vulkan.h>

#include <atomic>
#include <cstdint>
#include <vector>

#include "generated/vk/dispatch_table.h"
#include "runtime/mutex.h"
#include "server/pipelines/pipeline_file.h"

namespace vesper::server {

// Owned by the device. Lend() and Return() may be called from any thread, End() when no other call is under way.
class PipelineCache {
 public:
  // `shelf` may be null: then nothing is lent. The others outlive it.
  PipelineCache(const vk::DispatchTable* table, VkDevice device, const PipelineKey& key, PipelineShelf* shelf)
      : table_(table), device_(device), key_(key), shelf_(shelf) {}
  PipelineCache(const PipelineCache&) = delete;
  PipelineCache& operator=(const PipelineCache&) = delete;

  // Ahead of a command (a number of this server): puts the cache into its decoded arguments if it makes pipelines, names no cache
  // and may have one. True when it did. What was kept of earlier sessions is fetched for the first one.
  bool Lend(uint16_t command, void* args);
  // Behind it: the program gave no cache, so none of its own was of use.
  static void Return(uint16_t command, void* args);
  // Keeps what has come to it since it was fetched, and destroys it. Nothing is lent any more.
  void End();

 private:
  VkPipelineCache Cache();
  void Make() VESPER_REQUIRES(mutex_);

  const vk::DispatchTable* const table_;
  const VkDevice device_;
  const PipelineKey key_;
  PipelineShelf* const shelf_;
  std::atomic<uint64_t> lent_ = 0;
  Mutex mutex_;  // held while it is made
  bool made_ VESPER_GUARDED_BY(mutex_) = false;
  VkPipelineCache cache_ VESPER_GUARDED_BY(mutex_) = VK_NULL_HANDLE;
  uint64_t fetched_size_ VESPER_GUARDED_BY(mutex_) = 0;  // zero: there was nothing, or nothing that the driver took
  uint64_t fetched_hash_ VESPER_GUARDED_BY(mutex_) = 0;
};

}  // namespace vesper::server
