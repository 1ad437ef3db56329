#include "compute/src/queue.h"

#include <algorithm>

#include "compute/src/check.h"

namespace vesper::compute {

VkSemaphore CreateTimeline(VkDevice device) {
  VkSemaphoreTypeCreateInfo type{VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO};
  type.semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE;
  const VkSemaphoreCreateInfo info{VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, &type, 0};
  VkSemaphore semaphore = VK_NULL_HANDLE;
  Check(vkCreateSemaphore(device, &info, nullptr, &semaphore), ErrorCode::InitializationFailed,
        "creating a timeline semaphore");
  return semaphore;
}

Queue::Queue(VkDevice device, uint32_t family, uint32_t index, const char* name)
    : device_(device), family_(family), index_(index), name_(name) {
  vkGetDeviceQueue(device, family, 0, &handle_);
  timeline_ = CreateTimeline(device);
}

Queue::~Queue() { vkDestroySemaphore(device_, timeline_, nullptr); }

bool Queue::Reached(uint64_t value) {
  if (value <= completed_.load(std::memory_order_acquire)) return true;
  uint64_t now = 0;
  if (vkGetSemaphoreCounterValue(device_, timeline_, &now) != VK_SUCCESS) return false;
  uint64_t known = completed_.load(std::memory_order_relaxed);
  while (known < now && !completed_.compare_exchange_weak(known, now, std::memory_order_acq_rel)) {
  }
  return value <= now;
}

VkResult Queue::Wait(uint64_t value, std::chrono::nanoseconds timeout) {
  if (value <= completed_.load(std::memory_order_acquire)) return VK_SUCCESS;
  VkSemaphoreWaitInfo info{VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO};
  info.semaphoreCount = 1;
  info.pSemaphores = &timeline_;
  info.pValues = &value;
  const auto limit = static_cast<uint64_t>(std::max<int64_t>(timeout.count(), 0));
  const VkResult result = vkWaitSemaphores(device_, &info, limit);
  if (result == VK_SUCCESS) Reached(value);
  return result;
}

void Queue::Submitted(Pending pending) {
  submitted_.store(pending.value, std::memory_order_release);
  pending_.push_back(std::move(pending));
}

void Queue::Collect(std::vector<Pending>* finished) {
  while (!pending_.empty() && Reached(pending_.front().value)) {
    finished->push_back(std::move(pending_.front()));
    pending_.pop_front();
  }
}

void Queue::Drain(std::vector<Pending>* all) {
  for (Pending& pending : pending_) all->push_back(std::move(pending));
  pending_.clear();
}

std::string Queue::Unfinished(uint64_t value) {
  for (const Pending& pending : pending_) {
    if (pending.value <= value && !Reached(pending.value)) return pending.what;
  }
  return "";
}

}  // namespace vesper::compute
