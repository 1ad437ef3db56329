#include "compute/src/command_pools.h"

#include <atomic>

#include "compute/src/check.h"

namespace vesper::compute {
namespace {

// The pools that this thread uses, of all devices; they go back when it ends.
class ThreadPools {
 public:
  ~ThreadPools() {
    for (const Entry& entry : entries_) {
      if (const auto pools = entry.pools.lock()) pools->Return(entry.set);
    }
  }

  CommandPools::Set* Find(uint64_t id) const {
    for (const Entry& entry : entries_) {
      if (entry.id == id) return entry.set;
    }
    return nullptr;
  }

  void Add(uint64_t id, std::weak_ptr<CommandPools> pools, CommandPools::Set* set) {
    std::erase_if(entries_, [](const Entry& entry) { return entry.pools.expired(); });
    entries_.push_back({id, std::move(pools), set});
  }

 private:
  struct Entry {
    uint64_t id;
    std::weak_ptr<CommandPools> pools;
    CommandPools::Set* set;
  };
  std::vector<Entry> entries_;
};

ThreadPools& ThisThread() {
  thread_local ThreadPools pools;
  return pools;
}

uint64_t NextId() {
  static std::atomic<uint64_t> next = 1;
  return next++;
}

}  // namespace

CommandPool::CommandPool(VkDevice device, Queue* queue) : device_(device), queue_(queue) {
  VkCommandPoolCreateInfo info{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
  info.flags = VK_COMMAND_POOL_CREATE_TRANSIENT_BIT | VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT;
  info.queueFamilyIndex = queue->family();
  Check(vkCreateCommandPool(device, &info, nullptr, &pool_), ErrorCode::CommandBufferError, "creating a command pool");
}

CommandPool::~CommandPool() { vkDestroyCommandPool(device_, pool_, nullptr); }

VkCommandBuffer CommandPool::Begin() {
  while (!in_flight_.empty() && queue_->Reached(in_flight_.front().value)) {
    idle_.push_back(in_flight_.front().commands);
    in_flight_.pop_front();
  }
  if (idle_.empty()) {
    VkCommandBufferAllocateInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO};
    info.commandPool = pool_;
    info.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
    info.commandBufferCount = 1;
    VkCommandBuffer commands = VK_NULL_HANDLE;
    Check(vkAllocateCommandBuffers(device_, &info, &commands), ErrorCode::CommandBufferError,
          "allocating a command buffer");
    idle_.push_back(commands);
  }
  VkCommandBufferBeginInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
  info.flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT;
  Check(vkBeginCommandBuffer(idle_.back(), &info), ErrorCode::CommandBufferError, "beginning a command buffer");
  const VkCommandBuffer commands = idle_.back();
  idle_.pop_back();
  return commands;
}

void CommandPool::Submitted(VkCommandBuffer commands, uint64_t value) { in_flight_.push_back({commands, value}); }

void CommandPool::Dropped(VkCommandBuffer commands) {
  vkResetCommandBuffer(commands, 0);
  idle_.push_back(commands);
}

CommandPools::CommandPools(VkDevice device, std::vector<Queue*> queues)
    : id_(NextId()), device_(device), queues_(std::move(queues)) {}

void CommandPools::Close() {
  const std::lock_guard lock(mutex_);
  idle_.clear();
  all_.clear();
}

CommandPool& CommandPools::ForThisThread(const Queue& queue) {
  Set* set = ThisThread().Find(id_);
  if (set == nullptr) {
    set = Take();
    ThisThread().Add(id_, weak_from_this(), set);
  }
  std::unique_ptr<CommandPool>& pool = set->pools[queue.index()];
  if (pool == nullptr) pool = std::make_unique<CommandPool>(device_, queues_[queue.index()]);
  return *pool;
}

CommandPools::Set* CommandPools::Take() {
  const std::lock_guard lock(mutex_);
  if (idle_.empty()) {
    all_.push_back(std::make_unique<Set>());
    return all_.back().get();
  }
  Set* const set = idle_.back();
  idle_.pop_back();
  return set;
}

void CommandPools::Return(Set* set) {
  const std::lock_guard lock(mutex_);
  if (!all_.empty()) idle_.push_back(set);
}

}  // namespace vesper::compute
