// Command buffers to record into. A VkCommandPool belongs to one thread at a time; a thread keeps
// its pool until it ends, and the pool then serves the next thread.
#pragma once

#include <vulkan/vulkan.h>

#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "compute/src/queue.h"

namespace vesper::compute {

// One thread's, for one queue.
class CommandPool {
 public:
  CommandPool(VkDevice device, Queue* queue);
  ~CommandPool();

  // A command buffer that has begun recording. Throws CommandBufferError.
  VkCommandBuffer Begin();
  // Of what Begin gave: it is in use until `value`; or it was never submitted.
  void Submitted(VkCommandBuffer commands, uint64_t value);
  void Dropped(VkCommandBuffer commands);

 private:
  struct InFlight {
    VkCommandBuffer commands;
    uint64_t value;
  };
  const VkDevice device_;
  Queue* const queue_;
  VkCommandPool pool_ = VK_NULL_HANDLE;
  std::vector<VkCommandBuffer> idle_;
  std::deque<InFlight> in_flight_;
};

// A device's pools, kMaxQueues for each thread. Thread-safe.
class CommandPools : public std::enable_shared_from_this<CommandPools> {
 public:
  CommandPools(VkDevice device, std::vector<Queue*> queues);
  // Destroys the pools; no thread uses them any more.
  void Close();

  // The calling thread's pool for `queue`.
  CommandPool& ForThisThread(const Queue& queue);

  using PerQueue = std::unique_ptr<CommandPool>[kMaxQueues];
  struct Set {
    PerQueue pools;
  };
  void Return(Set* set);

 private:
  Set* Take();

  const uint64_t id_;
  const VkDevice device_;
  const std::vector<Queue*> queues_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Set>> all_;
  std::vector<Set*> idle_;
};

}  // namespace vesper::compute
