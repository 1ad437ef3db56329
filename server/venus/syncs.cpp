#include "server/venus/syncs.h"

#include <fcntl.h>
#include <sys/eventfd.h>

#include <algorithm>

#include "server/base/limits.h"

namespace vesper::venus {
namespace {

void Signal(const Descriptor& event) { eventfd_write(event.get(), 1); }

}  // namespace

uint32_t Syncs::Create(uint64_t value) {
  if (values_.size() >= server::limits::kVenusSyncs) return 0;
  values_.emplace(++numbers_, value);
  return numbers_;
}

uint64_t Syncs::Read(uint32_t number) const {
  const auto found = values_.find(number);
  return found == values_.end() ? 0 : found->second;
}

void Syncs::Write(uint32_t number, uint64_t value) {
  const auto found = values_.find(number);
  if (found == values_.end()) return;
  found->second = value;
  std::erase_if(waiters_, [this](const Waiter& waiter) {
    const bool met = IsMet(waiter);
    if (met) Signal(waiter.event);
    return met;
  });
}

bool Syncs::IsMet(const Waiter& waiter) const {
  const auto is_met = [this](const auto& each) { return Read(each.first) >= each.second; };
  return waiter.any ? std::any_of(waiter.values.begin(), waiter.values.end(), is_met)
                    : std::all_of(waiter.values.begin(), waiter.values.end(), is_met);
}

Descriptor Syncs::Wait(bool any, std::vector<std::pair<uint32_t, uint64_t>> values) {
  Descriptor event(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event.valid() || waiters_.size() >= server::limits::kVenusSyncWaits) return {};
  Descriptor copy(fcntl(event.get(), F_DUPFD_CLOEXEC, 0));
  Waiter waiter{any, std::move(values), std::move(event)};
  if (IsMet(waiter)) {
    Signal(waiter.event);
  } else {
    waiters_.push_back(std::move(waiter));
  }
  return copy;
}

}  // namespace vesper::venus
