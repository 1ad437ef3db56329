#include "server/memory/write_ledger.h"

#include <algorithm>
#include <utility>

#include "server/base/limits.h"
#include "server/memory/device_writes.h"

namespace vesper::server {
namespace {

uint64_t Sum(uint64_t a, uint64_t b) { return b > UINT64_MAX - a ? UINT64_MAX : a + b; }

}  // namespace

void WriteSet::Add(VkDeviceMemory memory, uint64_t begin, uint64_t end) {
  if (!everything) ranges[memory].Add(begin, end);
}

void WriteSet::Merge(const WriteSet& other) {
  everything = everything || other.everything;
  if (everything) return;
  for (const auto& [memory, more] : other.ranges) {
    RangeSet& mine = ranges[memory];
    more.ForEachIn(0, UINT64_MAX, [&mine](uint64_t begin, uint64_t end) { mine.Add(begin, end); });
  }
}

void DeviceWrites::Collect(const WrittenPart& part, WriteSet* set) const {
  if (set->everything) return;
  const Placement* placement = nullptr;
  if (part.buffer != VK_NULL_HANDLE) {
    const auto found = buffers.find(part.buffer);
    if (found != buffers.end()) placement = &found->second;
  } else if (part.image != VK_NULL_HANDLE) {
    const auto found = images.find(part.image);
    if (found != images.end()) placement = &found->second;
  }
  if (placement == nullptr || placement->memory == VK_NULL_HANDLE || !placement->followed) {
    set->everything = true;
    return;
  }
  const uint64_t end = std::min(Sum(part.offset, part.size), placement->size);
  set->Add(placement->memory, Sum(placement->offset, part.offset), Sum(placement->offset, end));
}

void DeviceWrites::CollectBound(const Recording::Bound& bound, WriteSet* set) const {
  if (bound.pipelines.empty()) return;  // nothing runs
  ShaderWrites writes;
  for (const VkPipeline pipeline : bound.pipelines) {
    const auto found = pipelines.find(pipeline);
    if (found == pipelines.end()) {
      writes.unknown = true;
    } else {
      writes.Merge(found->second);
    }
  }
  if (writes.unknown || writes.addresses) {
    for (const VkBuffer buffer : addressed) Collect({buffer}, set);
  }
  for (const auto& [number, handle] : bound.sets) {
    const auto found = sets.find(handle);
    if (found == sets.end() || found->second.unknown) {
      set->everything = true;
      return;
    }
    for (const auto& [index, part] : found->second.writable) {
      if (writes.unknown || writes.bindings.contains({number, found->second.layout->NumberOf(index)})) {
        Collect(part, set);
      }
    }
  }
}

void DeviceWrites::Collect(VkCommandBuffer buffer, WriteSet* set, int depth) const {
  const auto found = recordings.find(buffer);
  if (found == recordings.end() || found->second.everything || depth > limits::kMaxExecuteDepth) {
    set->everything = true;
    return;
  }
  const Recording& recording = found->second;
  for (const WrittenPart& part : recording.parts) Collect(part, set);
  for (const auto& [point, bound] : recording.bound) CollectBound(bound, set);
  for (const VkCommandBuffer secondary : recording.secondaries) {
    if (!set->everything) Collect(secondary, set, depth + 1);
  }
}

WriteLedger::WriteLedger(bool kept) : kept_(kept) {}
WriteLedger::~WriteLedger() = default;

DeviceWrites& WriteLedger::Of(VkDevice device) {
  std::unique_ptr<DeviceWrites>& entry = devices_[device];
  if (entry == nullptr) entry = std::make_unique<DeviceWrites>();
  return *entry;
}

void WriteLedger::Note(VkDevice device, uint16_t command, const void* args) {
  WriteNote* const note = kWriteNotes[command];
  if (note == nullptr || !kept_) return;
  const MutexLock lock(mutex_);
  note(Of(device), args);
}

std::shared_ptr<const void> WriteLedger::Keep(VkDevice device, std::shared_ptr<const WriteSet> set) {
  std::vector<std::weak_ptr<const WriteSet>>& live = Of(device).live;
  std::erase_if(live, [](const auto& each) { return each.expired(); });
  live.push_back(set);
  return set;
}

std::shared_ptr<const void> WriteLedger::Submitted(VkDevice device, std::span<const VkCommandBuffer> buffers) {
  if (!kept_) return nullptr;
  const auto set = std::make_shared<WriteSet>();
  const MutexLock lock(mutex_);
  const DeviceWrites& writes = Of(device);
  for (const VkCommandBuffer buffer : buffers) {
    if (!set->everything) writes.Collect(buffer, set.get());
  }
  return Keep(device, set);
}

std::shared_ptr<const void> WriteLedger::Unknown(VkDevice device) {
  if (!kept_) return nullptr;
  const auto set = std::make_shared<WriteSet>();
  set->everything = true;
  const MutexLock lock(mutex_);
  return Keep(device, set);
}

WriteSet WriteLedger::Live(VkDevice device) {
  WriteSet all;
  all.everything = !kept_;
  if (!kept_) return all;
  const MutexLock lock(mutex_);
  for (const auto& each : Of(device).live) {
    if (const auto set = each.lock()) all.Merge(*set);
  }
  return all;
}

void WriteLedger::Forget(VkDevice device) {
  const MutexLock lock(mutex_);
  devices_.erase(device);
}

}  // namespace vesper::server
