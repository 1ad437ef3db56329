#include "compute/src/staging.h"

#include <algorithm>

#include "compute/src/check.h"

namespace vesper::compute {
namespace {

constexpr uint64_t kAlignment = 256;

[[noreturn]] void ThrowTimeout() {
  throw Error(ErrorCode::SyncError, "waiting for room in the staging ring", VK_TIMEOUT);
}

}  // namespace

StagingRing::StagingRing(VkDevice device, Allocator* allocator, uint64_t bytes, const std::vector<uint32_t>& families)
    : device_(device), allocator_(allocator), bytes_(std::max<uint64_t>(bytes / (4 * kAlignment), 1) * 4 * kAlignment) {
  VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  info.size = bytes_;
  info.usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT;
  info.sharingMode = families.size() > 1 ? VK_SHARING_MODE_CONCURRENT : VK_SHARING_MODE_EXCLUSIVE;
  info.queueFamilyIndexCount = static_cast<uint32_t>(families.size());
  info.pQueueFamilyIndices = families.data();
  Check(vkCreateBuffer(device, &info, nullptr, &buffer_), ErrorCode::AllocationFailed, "creating the staging ring");
  try {
    VkMemoryRequirements requirements;
    vkGetBufferMemoryRequirements(device, buffer_, &requirements);
    memory_ = allocator->Allocate(requirements, allocator->FindType(requirements.memoryTypeBits, MemoryKind::kUpload),
                                  MemoryKind::kUpload);
    BindBuffer(memory_, buffer_);
  } catch (...) {
    if (memory_.block != nullptr) allocator->Free(memory_);
    vkDestroyBuffer(device, buffer_, nullptr);
    throw;
  }
}

StagingRing::~StagingRing() {
  vkDestroyBuffer(device_, buffer_, nullptr);
  allocator_->Free(memory_);
}

StagingRing::Region StagingRing::Reserve(uint64_t bytes, std::chrono::nanoseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  const uint64_t needed = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  std::unique_lock lock(mutex_);
  for (;;) {
    FreeTail();
    const uint64_t at = head_ % bytes_;
    // A region is contiguous: what is left at the end is skipped when it is too short.
    const uint64_t start = at + needed > bytes_ ? head_ + (bytes_ - at) : head_;
    const uint64_t tail = entries_.empty() ? start : entries_.front().start;
    if (start + needed - tail <= bytes_) {
      head_ = start + needed;
      const uint64_t id = next_id_++;
      entries_.push_back({id, start, head_, nullptr, 0, false});
      const uint64_t offset = start % bytes_;
      return Region{id, offset, bytes, static_cast<char*>(memory_.mapped) + offset};
    }
    WaitForTail(&lock, deadline);
  }
}

void StagingRing::FreeTail() {
  while (!entries_.empty()) {
    const Entry& tail = entries_.front();
    if (!tail.done && (tail.queue == nullptr || !tail.queue->Reached(tail.value))) return;
    entries_.pop_front();
  }
}

// Until the oldest region is free or changes hands.
void StagingRing::WaitForTail(std::unique_lock<std::mutex>* lock, std::chrono::steady_clock::time_point deadline) {
  const Entry tail = entries_.front();
  if (tail.queue == nullptr) {
    if (moved_.wait_until(*lock, deadline) == std::cv_status::timeout) ThrowTimeout();
    return;
  }
  lock->unlock();
  const VkResult result = tail.queue->Wait(tail.value, deadline - std::chrono::steady_clock::now());
  lock->lock();
  if (result == VK_TIMEOUT) ThrowTimeout();
  Check(result, ErrorCode::SyncError, "waiting for room in the staging ring");
}

void StagingRing::Submitted(const Region& region, Queue* queue, uint64_t value) {
  const std::lock_guard lock(mutex_);
  for (Entry& entry : entries_) {
    if (entry.id == region.id) entry.queue = queue, entry.value = value;
  }
  moved_.notify_all();
}

void StagingRing::Release(const Region& region) {
  const std::lock_guard lock(mutex_);
  for (Entry& entry : entries_) {
    if (entry.id == region.id) entry.done = true;
  }
  moved_.notify_all();
}

}  // namespace vesper::compute
