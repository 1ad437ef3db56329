#include "client/session/verdicts.h"

#include <algorithm>
#include <new>

#include "client/base/limits.h"

namespace vesper::client {

void Verdicts::Expect(std::span<const uint64_t> ids, uint64_t request) noexcept {
  const MutexLock lock(mutex_);
  try {
    for (const uint64_t id : ids) undecided_.insert_or_assign(id, Undecided{request, Clock::now()});
  } catch (const std::bad_alloc&) {  // then nothing is known of it
  }
  Recount();
}

void Verdicts::Decided(ObjectId id, VkResult result) noexcept {
  const MutexLock lock(mutex_);
  const auto found = undecided_.find(id);
  if (found == undecided_.end()) return;
  try {
    if (result < 0) {
      failed_.emplace(id, result);
      if (failed_requests_.size() < limits::kMaxFailedRequests) failed_requests_.insert(found->second.request);
      any_failed_.store(true, std::memory_order_relaxed);
    }
  } catch (const std::bad_alloc&) {
  }
  undecided_.erase(found);
  Recount();
}

void Verdicts::Forget(ObjectId id) noexcept {
  if (AllWell()) return;
  const MutexLock lock(mutex_);
  undecided_.erase(id);
  failed_.erase(id);
  Recount();
}

VkResult Verdicts::FailureOf(std::span<const ObjectId> ids) const noexcept {
  const MutexLock lock(mutex_);
  for (const ObjectId id : ids) {
    const auto found = failed_.find(id);
    if (found != failed_.end()) return found->second;
  }
  return VK_SUCCESS;
}

Clock::time_point Verdicts::Deadline(std::span<const ObjectId> ids) const noexcept {
  const MutexLock lock(mutex_);
  Clock::time_point latest{};
  for (const ObjectId id : ids) {
    const auto found = undecided_.find(id);
    if (found != undecided_.end()) latest = std::max(latest, found->second.since + limits::kVerdictPatience);
  }
  return latest;
}

bool Verdicts::AreDecided(std::span<const ObjectId> ids) const noexcept {
  const MutexLock lock(mutex_);
  for (const ObjectId id : ids) {
    if (undecided_.contains(id)) return false;
  }
  return true;
}

bool Verdicts::HasFailed(uint64_t request) const noexcept {
  const MutexLock lock(mutex_);
  return failed_requests_.contains(request);
}

}  // namespace vesper::client
