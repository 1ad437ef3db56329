#include "server/base/meter.h"

#include <algorithm>

#include "server/base/limits.h"

namespace vesper::server {
namespace {

bool IsBulk(uint16_t kind) {
  return kind == wire::kRecordings || kind == static_cast<uint16_t>(wire::Control::kMemoryWrite);
}

bool HasChanged(double ns, uint32_t told) { return told == 0 || ns > told * 1.25 || ns * 1.25 < told; }

}  // namespace

void Meter::Switch(uint16_t kind) {
  const Clock::time_point now = Clock::now();
  if (running_) Close(now);
  running_ = true;
  kind_ = kind;
  since_ = now;
  units_ = bytes_ = 0;
}

// One row counts as much as it is long, up to an eighth of what was known: a driver that stumbles once is not slow.
void Meter::Close(Clock::time_point now) {
  const double spent = static_cast<double>(std::chrono::nanoseconds(now - since_).count());
  const double units = IsBulk(kind_) ? static_cast<double>(bytes_) / 1024 + 1 : static_cast<double>(units_);
  Cost& cost = costs_[kind_];
  const double weight = cost.ns == 0 ? 1 : std::min(units / limits::kCostMemory, 1.0);
  cost.ns += (spent / units - cost.ns) * weight;
  if (cost.noted || !HasChanged(cost.ns, cost.told)) return;
  changed_.push_back(kind_);
  cost.noted = true;
}

std::span<const wire::CommandCost> Meter::TakeChanged() {
  taken_.clear();
  while (!changed_.empty() && taken_.size() < limits::kMaxCostsAtOnce) {
    const uint16_t kind = changed_.back();
    changed_.pop_back();
    Cost& cost = costs_[kind];
    cost.noted = false;
    cost.told = static_cast<uint32_t>(std::clamp(cost.ns, 1.0, limits::kMaxCostNs));
    taken_.push_back({kind, cost.told});
  }
  return taken_;
}

}  // namespace vesper::server
