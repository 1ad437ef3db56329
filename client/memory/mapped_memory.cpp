#include "client/memory/mapped_memory.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <new>

#include "client/memory/foreign_tracker.h"
#include "client/session.h"
#include "runtime/wire/control.h"
#include "runtime/wire/record.h"

namespace vesper::client {
namespace {

// A record of runs is sent when it has grown to this.
constexpr size_t kRecordBytes = 64 * 1024;

}  // namespace

VkResult MappedMemory::Map(const MemoryState& memory, uint64_t offset, uint64_t size, void** data) noexcept {
  if (size == VK_WHOLE_SIZE) size = memory.size - std::min(offset, memory.size);
  if (offset > memory.size || size > memory.size - offset) return VK_ERROR_MEMORY_MAP_FAILED;
  if (session_->lost()) return VK_ERROR_OUT_OF_DEVICE_MEMORY;
  uint8_t* shadow = nullptr;
  try {
    const std::lock_guard lock(mutex_);
    Mapping& mapping = mappings_[memory.id];
    if (mapping.tracker == nullptr) mapping.tracker = MakeTracker(memory.size);
    if (mapping.tracker == nullptr) return VK_ERROR_OUT_OF_HOST_MEMORY;
    EndMapping(&mapping);
    mapping.offset = offset;
    mapping.size = size;
    mapping.coherent = (memory.properties & VK_MEMORY_PROPERTY_HOST_COHERENT_BIT) != 0;
    mapping.mapped = true;
    if (mapping.coherent) coherent_count_.fetch_add(1);
    shadow = mapping.tracker->shadow();
  } catch (const std::bad_alloc&) {
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  const wire::MemoryRange range{memory.id, offset, size};
  if (!session_->PostControl(wire::Control::kMemoryMapped, &range, sizeof(range)) ||
      !session_->AskControl(wire::Control::kMemoryFetch, &range, sizeof(range))) {
    return VK_ERROR_MEMORY_MAP_FAILED;
  }
  *data = shadow + offset;
  return VK_SUCCESS;
}

VkResult MappedMemory::Import(const MemoryState& memory) noexcept {
  try {
    auto tracker = MakeForeignTracker(memory.imported, memory.size);
    if (tracker == nullptr) return VK_ERROR_OUT_OF_HOST_MEMORY;
    const std::lock_guard lock(mutex_);
    Mapping& mapping = mappings_[memory.id];
    mapping.tracker = std::move(tracker);
    mapping.size = memory.size;
    mapping.coherent = true;
    mapping.mapped = true;
    coherent_count_.fetch_add(1);
    return VK_SUCCESS;
  } catch (const std::bad_alloc&) {
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
}

void MappedMemory::EndMapping(Mapping* mapping) noexcept {
  if (mapping->mapped && mapping->coherent) coherent_count_.fetch_sub(1);
  mapping->mapped = false;
}

void MappedMemory::Unmap(const MemoryState& memory) noexcept {
  if (session_->lost()) return;
  if ((memory.properties & VK_MEMORY_PROPERTY_HOST_COHERENT_BIT) != 0) SendRange(memory, 0, memory.size);
  const std::lock_guard lock(mutex_);
  const auto found = mappings_.find(memory.id);
  if (found == mappings_.end() || !found->second.mapped) return;
  const wire::MemoryRange range{memory.id, found->second.offset, found->second.size};
  session_->PostControl(wire::Control::kMemoryUnmapped, &range, sizeof(range));
  EndMapping(&found->second);
}

void MappedMemory::Drop(const MemoryState& memory) noexcept {
  if (session_->abandoned()) return;  // the lock's holder may be a thread that this process does not have
  const std::lock_guard lock(mutex_);
  const auto found = mappings_.find(memory.id);
  if (found == mappings_.end()) return;
  EndMapping(&found->second);
  mappings_.erase(found);
}

bool MappedMemory::SendWrites() noexcept {
  if (coherent_count_.load() == 0) return true;
  if (session_->lost()) return false;
  const std::lock_guard lock(mutex_);
  try {
    for (auto& [id, mapping] : mappings_) {
      if (mapping.mapped && mapping.coherent && !Send(id, &mapping, mapping.offset, mapping.size)) return false;
    }
  } catch (const std::bad_alloc&) {
    session_->connection().MarkLost("memory is exhausted while sending mapped memory");
    return false;
  }
  return true;
}

bool MappedMemory::SendRange(const MemoryState& memory, uint64_t offset, uint64_t size) noexcept {
  if (session_->lost()) return false;
  const std::lock_guard lock(mutex_);
  const auto found = mappings_.find(memory.id);
  if (found == mappings_.end() || !found->second.mapped) return true;
  try {
    const Mapping& mapping = found->second;
    const uint64_t begin = std::max(offset, mapping.offset);
    const uint64_t asked_end = size > memory.size - std::min(offset, memory.size) ? memory.size : offset + size;
    const uint64_t end = std::min(asked_end, mapping.offset + mapping.size);
    return begin >= end || Send(memory.id, &found->second, begin, end - begin);
  } catch (const std::bad_alloc&) {
    session_->connection().MarkLost("memory is exhausted while sending mapped memory");
    return false;
  }
}

bool MappedMemory::FetchRange(const MemoryState& memory, uint64_t offset, uint64_t size) noexcept {
  if (size == VK_WHOLE_SIZE) size = memory.size - std::min(offset, memory.size);
  const wire::MemoryRange range{memory.id, offset, size};
  return session_->AskControl(wire::Control::kMemoryFetch, &range, sizeof(range));
}

void MappedMemory::Apply(ObjectId memory, uint64_t offset, std::span<const uint8_t> bytes) noexcept {
  const std::lock_guard lock(mutex_);
  const auto found = mappings_.find(memory);
  if (found != mappings_.end() && found->second.tracker->Apply(offset, bytes)) {
    Count(session_->statistics().blocks_received);
  }
}

// With the mutex held: puts the changed runs of a range into the batch, in records of bounded size.
bool MappedMemory::Send(ObjectId memory, Mapping* mapping, uint64_t offset, uint64_t size) {
  bool sent = true;
  record_.clear();
  mapping->tracker->Collect(offset, size, [&](uint64_t at, std::span<const uint8_t> bytes) {
    if (record_.empty()) {
      record_mark_ = wire::BeginRecord(&record_, static_cast<uint16_t>(wire::Control::kMemoryWrite), 0);
      const wire::MemoryRuns runs{memory, 0, 0};
      record_.Append(&runs, sizeof(runs));
      record_runs_ = 0;
    }
    const wire::MemoryRun run{at, bytes.size()};
    record_.Append(&run, sizeof(run));
    record_.Append(bytes.data(), bytes.size());
    const size_t padding = (8 - bytes.size() % 8) % 8;
    if (padding != 0) std::memset(record_.Append(padding), 0, padding);
    ++record_runs_;
    Count(session_->statistics().dirty_bytes, bytes.size());
    if (record_.size() >= kRecordBytes) sent = SendRecord() && sent;
  });
  return (record_.empty() || SendRecord()) && sent;
}

bool MappedMemory::SendRecord() noexcept {
  wire::Store(record_.data() + sizeof(wire::RecordHeader) + offsetof(wire::MemoryRuns, count), record_runs_);
  const bool sent = wire::EndRecord(&record_, record_mark_) &&
                    session_->connection().PostRecords({record_.data(), record_.size()}) == Connection::Posted::kOk;
  record_.clear();
  return sent;
}

}  // namespace vesper::client
