#include "compute/src/allocator.h"

#include <algorithm>
#include <condition_variable>
#include <optional>

#include "compute/src/check.h"

namespace vesper::compute {
namespace {

uint64_t AlignUp(uint64_t value, uint64_t alignment) { return (value + alignment - 1) / alignment * alignment; }

}  // namespace

// One VkDeviceMemory and what of it is free, by offset; neighbours are merged.
class MemoryBlock {
 public:
  MemoryBlock(VkDevice device, uint32_t type, bool mapped, uint64_t bytes)
      : device_(device), type_(type), mapped_(mapped), bytes_(bytes) {
    free_.emplace(0, bytes);
  }
  ~MemoryBlock() { vkFreeMemory(device_, memory_, nullptr); }
  MemoryBlock(const MemoryBlock&) = delete;
  MemoryBlock& operator=(const MemoryBlock&) = delete;

  VkResult Create() {
    VkMemoryAllocateInfo info{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO};
    info.allocationSize = bytes_;
    info.memoryTypeIndex = type_;
    const VkResult result = vkAllocateMemory(device_, &info, nullptr, &memory_);
    if (result != VK_SUCCESS || !mapped_) return result;
    return vkMapMemory(device_, memory_, 0, VK_WHOLE_SIZE, 0, &address_);
  }

  bool IsLike(const MemoryBlock& other) const { return Serves(other.type_, other.mapped_); }
  bool Serves(uint32_t type, bool mapped) const { return type_ == type && mapped_ == mapped; }
  bool empty() const { return used_ == 0; }
  uint64_t bytes() const { return bytes_; }

  // The smallest free range that is large enough.
  std::optional<Allocation> Take(uint64_t bytes, uint64_t alignment) {
    auto best = free_.end();
    for (auto range = free_.begin(); range != free_.end(); ++range) {
      const uint64_t padding = AlignUp(range->first, alignment) - range->first;
      if (range->second < padding || range->second - padding < bytes) continue;
      if (best == free_.end() || range->second < best->second) best = range;
    }
    if (best == free_.end()) return std::nullopt;
    const auto [start, length] = *best;
    const uint64_t offset = AlignUp(start, alignment);
    free_.erase(best);
    if (offset != start) free_.emplace(start, offset - start);
    const uint64_t end = offset + bytes;
    if (end != start + length) free_.emplace(end, start + length - end);
    used_ += bytes;
    void* const mapped = mapped_ ? static_cast<char*>(address_) + offset : nullptr;
    return Allocation{this, memory_, offset, bytes, mapped};
  }

  VkResult Bind(VkBuffer buffer, uint64_t offset) {
    const std::lock_guard lock(mapping_mutex_);
    return vkBindBufferMemory(device_, buffer, memory_, offset);
  }

  // Until Unmap, which the same thread need not call.
  std::byte* Map(uint64_t offset, uint64_t bytes) {
    std::unique_lock lock(mapping_mutex_);
    unmapped_.wait(lock, [this] { return !is_open_; });
    void* data = nullptr;
    Check(vkMapMemory(device_, memory_, offset, bytes, 0, &data), ErrorCode::BufferError, "mapping a part of a buffer");
    is_open_ = true;
    return static_cast<std::byte*>(data);
  }
  void Unmap() {
    {
      const std::lock_guard lock(mapping_mutex_);
      vkUnmapMemory(device_, memory_);
      is_open_ = false;
    }
    unmapped_.notify_one();
  }

  void Return(uint64_t offset, uint64_t bytes) {
    used_ -= bytes;
    auto next = free_.upper_bound(offset);
    if (next != free_.end() && next->first == offset + bytes) {
      bytes += next->second;
      next = free_.erase(next);
    }
    if (next != free_.begin()) {
      const auto previous = std::prev(next);
      if (previous->first + previous->second == offset) {
        previous->second += bytes;
        return;
      }
    }
    free_.emplace(offset, bytes);
  }

 private:
  const VkDevice device_;
  const uint32_t type_;
  const bool mapped_;
  const uint64_t bytes_;
  VkDeviceMemory memory_ = VK_NULL_HANDLE;
  void* address_ = nullptr;
  uint64_t used_ = 0;
  std::map<uint64_t, uint64_t> free_;  // offset: bytes
  std::mutex mapping_mutex_;
  std::condition_variable unmapped_;
  bool is_open_ = false;  // a HostRange is
};

HostRange::HostRange(const Allocation& allocation, uint64_t offset, uint64_t bytes) {
  if (allocation.mapped != nullptr) {
    data_ = static_cast<std::byte*>(allocation.mapped) + offset;
    return;
  }
  data_ = allocation.block->Map(allocation.offset + offset, bytes);
  block_ = allocation.block;
}

void BindBuffer(const Allocation& allocation, VkBuffer buffer) {
  Check(allocation.block->Bind(buffer, allocation.offset), ErrorCode::AllocationFailed, "binding a buffer");
}

HostRange::~HostRange() {
  if (block_ != nullptr) block_->Unmap();
}

Allocator::Allocator(VkPhysicalDevice physical_device, VkDevice device, uint64_t block_bytes)
    : device_(device), block_bytes_(std::max<uint64_t>(block_bytes, uint64_t{64} << 10)) {
  vkGetPhysicalDeviceMemoryProperties(physical_device, &properties_);
}

Allocator::~Allocator() = default;

uint32_t Allocator::FindType(uint32_t type_bits, MemoryKind kind, bool cached) const {
  constexpr VkMemoryPropertyFlags kVisible = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
  constexpr VkMemoryPropertyFlags kLocal = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
  constexpr VkMemoryPropertyFlags kCached = VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
  // Never asked for: such memory needs features that this library does not enable.
  constexpr VkMemoryPropertyFlags kForeign =
      VK_MEMORY_PROPERTY_PROTECTED_BIT | VK_MEMORY_PROPERTY_DEVICE_COHERENT_BIT_AMD;
  VkMemoryPropertyFlags needed = 0;
  VkMemoryPropertyFlags liked = 0;
  VkMemoryPropertyFlags disliked = 0;
  switch (kind) {
    case MemoryKind::kDevice:
      liked = kLocal, disliked = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT;
      break;
    case MemoryKind::kHost:
    case MemoryKind::kMapped:
      needed = kLocal | kVisible | (cached ? kCached : 0);
      break;
    case MemoryKind::kUpload:
    case MemoryKind::kDownload:
      needed = kVisible, disliked = kLocal;
      break;
  }
  if (kind != MemoryKind::kDevice) liked = kCached;
  uint32_t best = UINT32_MAX;
  int best_score = -1;
  for (uint32_t i = 0; i < properties_.memoryTypeCount; ++i) {
    const VkMemoryPropertyFlags flags = properties_.memoryTypes[i].propertyFlags;
    if ((type_bits >> i & 1) == 0 || (flags & needed) != needed || (flags & kForeign) != 0) continue;
    const int score = ((flags & liked) == liked ? 2 : 0) + ((flags & disliked) == 0 ? 1 : 0);
    if (score > best_score) best = i, best_score = score;
  }
  return best;
}

uint64_t Allocator::BlockBytes(uint32_t type) const {
  const uint64_t heap = properties_.memoryHeaps[properties_.memoryTypes[type].heapIndex].size;
  return std::min(block_bytes_, std::max<uint64_t>(heap / 8, 1));
}

Allocation Allocator::Allocate(const VkMemoryRequirements& requirements, uint32_t type, MemoryKind kind) {
  if (type == UINT32_MAX) {
    throw Error(ErrorCode::AllocationFailed, "finding memory for a buffer", VK_ERROR_FEATURE_NOT_PRESENT);
  }
  const bool mapped = kind == MemoryKind::kMapped || kind == MemoryKind::kUpload;
  const uint64_t block_bytes = BlockBytes(type);
  const bool alone = kind == MemoryKind::kDownload || requirements.size > block_bytes / 2;
  const std::lock_guard lock(mutex_);
  std::optional<Allocation> taken;
  if (!alone) {
    for (const auto& block : blocks_) {
      if (!block->Serves(type, mapped)) continue;
      taken = block->Take(requirements.size, requirements.alignment);
      if (taken) break;
    }
  }
  if (!taken) {
    MemoryBlock* const block = MakeBlock(type, mapped, alone ? requirements.size : block_bytes, requirements.size);
    taken = block->Take(requirements.size, requirements.alignment);
  }
  ++statistics_.buffers;
  ++statistics_.allocations_made;
  statistics_.bytes_used += taken->bytes;
  return *taken;
}

std::unique_ptr<MemoryBlock> Allocator::TryMakeBlock(uint32_t type, bool mapped, uint64_t bytes, VkResult* result) {
  auto block = std::make_unique<MemoryBlock>(device_, type, mapped, bytes);
  *result = block->Create();
  return *result == VK_SUCCESS ? std::move(block) : nullptr;
}

MemoryBlock* Allocator::MakeBlock(uint32_t type, bool mapped, uint64_t bytes, uint64_t wanted) {
  VkResult result = VK_SUCCESS;
  auto block = TryMakeBlock(type, mapped, bytes, &result);
  if (block == nullptr && bytes != wanted) block = TryMakeBlock(type, mapped, wanted, &result);
  if (block == nullptr) {
    throw Error(ErrorCode::AllocationFailed,
                "allocating " + std::to_string(wanted) + " bytes of memory type " + std::to_string(type), result);
  }
  ++statistics_.blocks;
  ++statistics_.driver_allocations;
  statistics_.bytes_reserved += block->bytes();
  blocks_.push_back(std::move(block));
  return blocks_.back().get();
}

void Allocator::Free(const Allocation& allocation) {
  std::unique_ptr<MemoryBlock> released;  // returned to the driver outside the lock
  const std::lock_guard lock(mutex_);
  allocation.block->Return(allocation.offset, allocation.bytes);
  --statistics_.buffers;
  statistics_.bytes_used -= allocation.bytes;
  if (!allocation.block->empty()) return;
  // One empty block of each kind and of the usual size stays, so that a buffer made and freed over
  // and over costs no allocation.
  const bool usual_size = allocation.block->bytes() <= block_bytes_;
  const auto others = std::count_if(blocks_.begin(), blocks_.end(), [&](const auto& block) {
    return block->empty() && block.get() != allocation.block && block->IsLike(*allocation.block);
  });
  if (usual_size && others == 0) return;
  const auto it =
      std::find_if(blocks_.begin(), blocks_.end(), [&](const auto& block) { return block.get() == allocation.block; });
  --statistics_.blocks;
  statistics_.bytes_reserved -= (*it)->bytes();
  released = std::move(*it);
  blocks_.erase(it);
}

MemoryStatistics Allocator::statistics() const {
  const std::lock_guard lock(mutex_);
  return statistics_;
}

}  // namespace vesper::compute
