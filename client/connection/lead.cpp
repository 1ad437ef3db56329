#include "client/connection/lead.h"

#include <algorithm>

#include "runtime/wire/record.h"

namespace vesper::client {

Lead::Lead() {
  for (std::atomic<uint32_t>& cost : cost_ns_) cost.store(limits::kUnknownCostNs, std::memory_order_relaxed);
  cost_ns_[kRecordings].store(limits::kUnknownRecordingNs, std::memory_order_relaxed);
  cost_ns_[kMemoryWrites].store(limits::kUnknownWriteNs, std::memory_order_relaxed);
}

// What is posted in bulk costs by its KiB, everything else by the command.
Lead::Unit Lead::UnitOf(uint16_t command, size_t bytes) noexcept {
  if (command == wire::kRecordings) return {kRecordings, bytes / 1024 + 1};
  if (command == static_cast<uint16_t>(wire::Control::kMemoryWrite)) return {kMemoryWrites, bytes / 1024 + 1};
  if (command < kCommandCount) return {command, 1};
  return {kRecordings, 0};
}

bool Lead::Post(uint16_t command, size_t bytes) noexcept {
  const Unit unit = UnitOf(command, bytes);
  const uint64_t cost = unit.count * cost_ns_[unit.index].load(std::memory_order_relaxed);
  const uint64_t posted = posted_ns_.fetch_add(cost, std::memory_order_relaxed) + cost;
  if (!answered_.load(std::memory_order_relaxed) || posted - marked_ns_ < limits::kMarkEveryNs) return false;
  return marks_.load(std::memory_order_relaxed) - reached_.load(std::memory_order_acquire) < kMarks;
}

void Lead::AddMark() noexcept {
  marked_ns_ = posted_ns_.load(std::memory_order_relaxed);
  const uint64_t number = marks_.load(std::memory_order_relaxed) + 1;
  before_ns_[number % kMarks].store(marked_ns_, std::memory_order_relaxed);
  marks_.store(number, std::memory_order_release);
}

void Lead::Reached(uint64_t marks) noexcept {
  const uint64_t before = reached_.load(std::memory_order_relaxed);
  if (marks <= before || marks > marks_.load(std::memory_order_acquire)) return;
  reached_ns_.store(before_ns_[marks % kMarks].load(std::memory_order_relaxed), std::memory_order_relaxed);
  reached_.store(marks, std::memory_order_release);
}

void Lead::Learn(std::span<const uint8_t> costs) noexcept {
  for (; costs.size() >= sizeof(wire::CommandCost); costs = costs.subspan(sizeof(wire::CommandCost))) {
    const auto cost = wire::Load<wire::CommandCost>(costs.data());
    const Unit unit = UnitOf(static_cast<uint16_t>(cost.command), 0);
    if (unit.count != 0) cost_ns_[unit.index].store(cost.ns, std::memory_order_relaxed);
  }
}

void Lead::NoteTrip(int64_t ns) noexcept {
  int64_t least = trip_ns_.load(std::memory_order_relaxed);
  while (ns < least && !trip_ns_.compare_exchange_weak(least, ns, std::memory_order_relaxed)) {
  }
}

uint64_t Lead::ahead_ns() const noexcept {
  const uint64_t reached = reached_ns_.load(std::memory_order_relaxed);
  return posted_ns_.load(std::memory_order_relaxed) - reached;
}

// Without a mark on its way nothing would tell of room.
bool Lead::Within(uint64_t bound) const noexcept {
  if (reached_.load(std::memory_order_relaxed) == marks_.load(std::memory_order_relaxed)) return true;
  const int64_t trip = trip_ns_.load(std::memory_order_relaxed);
  return ahead_ns() <= bound + (trip == INT64_MAX ? 0 : static_cast<uint64_t>(trip));
}

}  // namespace vesper::client
