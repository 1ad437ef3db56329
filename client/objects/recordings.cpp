#include "client/objects/recordings.h"

#include <algorithm>
#include <new>
#include <utility>

namespace vesper::client {

uint64_t Recordings::Begin() noexcept {
  try {
    const MutexLock lock(mutex_);
    open_.push_back(last_ + 1);
    return ++last_;
  } catch (const std::bad_alloc&) {
    return 0;
  }
}

std::list<Destruction> Recordings::End(uint64_t number) noexcept {
  std::list<Destruction> ready;
  if (number == 0) return ready;
  const MutexLock lock(mutex_);
  const auto found = std::lower_bound(open_.begin(), open_.end(), number);
  if (found != open_.end() && *found == number) open_.erase(found);
  const uint64_t first = open_.empty() ? UINT64_MAX : open_.front();
  const auto rest =
      std::find_if(waiting_.begin(), waiting_.end(), [&](const Destruction& each) { return each.after >= first; });
  ready.splice(ready.end(), waiting_, waiting_.begin(), rest);
  return ready;
}

bool Recordings::any() noexcept {
  const MutexLock lock(mutex_);
  return !open_.empty();
}

bool Recordings::Defer(Destruction destruction) noexcept {
  try {
    const MutexLock lock(mutex_);
    if (open_.empty()) return false;
    destruction.after = open_.back();
    waiting_.push_back(std::move(destruction));
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

std::list<Destruction> Recordings::Drop() noexcept {
  const MutexLock lock(mutex_);
  return std::exchange(waiting_, {});
}

}  // namespace vesper::client
