#include "compute/src/download_slots.h"

#include <algorithm>
#include <utility>

#include "compute/src/check.h"

namespace vesper::compute {
namespace {

constexpr size_t kSlots = 4;  // one is read by the host while the device fills others
constexpr uint64_t kLargestSlot = uint64_t{4} << 20;
constexpr uint64_t kSmallestSlot = 256;
constexpr const char* kWaiting = "waiting for staging memory to download through";

}  // namespace

DownloadSlots::DownloadSlots(VkDevice device, Allocator* allocator, uint64_t bytes, std::vector<uint32_t> families)
    : device_(device),
      allocator_(allocator),
      slot_bytes_(std::clamp(bytes / kSlots, kSmallestSlot, kLargestSlot)),
      families_(std::move(families)) {}

DownloadSlots::~DownloadSlots() {
  for (const auto& slot : slots_) Destroy(*slot);
}

std::unique_ptr<DownloadSlots::Slot> DownloadSlots::Make() const {
  auto slot = std::make_unique<Slot>();
  VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  info.size = slot_bytes_;
  info.usage = VK_BUFFER_USAGE_TRANSFER_DST_BIT;
  info.sharingMode = families_.size() > 1 ? VK_SHARING_MODE_CONCURRENT : VK_SHARING_MODE_EXCLUSIVE;
  info.queueFamilyIndexCount = static_cast<uint32_t>(families_.size());
  info.pQueueFamilyIndices = families_.data();
  Check(vkCreateBuffer(device_, &info, nullptr, &slot->buffer), ErrorCode::AllocationFailed,
        "creating a buffer for downloads");
  try {
    VkMemoryRequirements requirements;
    vkGetBufferMemoryRequirements(device_, slot->buffer, &requirements);
    slot->memory = allocator_->Allocate(
        requirements, allocator_->FindType(requirements.memoryTypeBits, MemoryKind::kDownload), MemoryKind::kDownload);
    BindBuffer(slot->memory, slot->buffer);
  } catch (...) {
    Destroy(*slot);
    throw;
  }
  return slot;
}

void DownloadSlots::Destroy(const Slot& slot) const {
  vkDestroyBuffer(device_, slot.buffer, nullptr);
  if (slot.memory.block != nullptr) allocator_->Free(slot.memory);
}

// With the mutex held.
DownloadSlots::Slot* DownloadSlots::FindFree() {
  for (const auto& slot : slots_) {
    if (slot->taken || (slot->queue != nullptr && !slot->queue->Reached(slot->value))) continue;
    slot->queue = nullptr;
    slot->taken = true;
    return slot.get();
  }
  if (slots_.size() == kSlots) return nullptr;
  slots_.push_back(Make());
  slots_.back()->taken = true;
  return slots_.back().get();
}

// Until one may be free, or the line moves. With the mutex held, which is released meanwhile.
void DownloadSlots::WaitForOne(std::unique_lock<std::mutex>* lock, bool is_first,
                               std::chrono::steady_clock::time_point deadline) {
  const auto busy = std::find_if(slots_.begin(), slots_.end(),
                                 [&](const auto& slot) { return is_first && !slot->taken && slot->queue != nullptr; });
  VkResult result = VK_SUCCESS;
  if (busy == slots_.end()) {
    if (returned_.wait_until(*lock, deadline) == std::cv_status::timeout) result = VK_TIMEOUT;
  } else {
    Queue* const queue = (*busy)->queue;
    const uint64_t value = (*busy)->value;
    lock->unlock();
    result = queue->Wait(value, deadline - std::chrono::steady_clock::now());
    lock->lock();
  }
  Check(result, ErrorCode::SyncError, kWaiting);
}

DownloadSlots::Slot* DownloadSlots::Take(bool may_wait, std::chrono::nanoseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  std::unique_lock lock(mutex_);
  if (line_.empty()) {
    if (Slot* const slot = FindFree(); slot != nullptr || !may_wait) return slot;
  } else if (!may_wait) {
    return nullptr;
  }
  const void* const me = &deadline;
  line_.push_back(me);
  const auto leave = [&] {
    std::erase(line_, me);
    returned_.notify_all();  // the next one may go on
  };
  try {
    for (;;) {
      const bool is_first = line_.front() == me;
      if (Slot* const slot = is_first ? FindFree() : nullptr) {
        leave();
        return slot;
      }
      WaitForOne(&lock, is_first, deadline);
    }
  } catch (...) {
    leave();
    throw;
  }
}

void DownloadSlots::Return(Slot* slot, Queue* queue, uint64_t value) {
  slot->host.reset();
  const std::lock_guard lock(mutex_);
  slot->queue = queue;
  slot->value = value;
  slot->taken = false;
  returned_.notify_all();
}

bool DownloadSlots::IsAwaited() const {
  const std::lock_guard lock(mutex_);
  return !line_.empty();
}

}  // namespace vesper::compute
