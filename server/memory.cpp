#include "server/memory.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "runtime/wire/decoder.h"

namespace vesper::server {
namespace {

constexpr size_t kPiece = 256 * 1024;  // scanned under one hold of the lock
constexpr size_t kBlock = 4096;        // compared at once

}  // namespace

MappedMemory::~MappedMemory() {
  if (twin_ != nullptr) munmap(twin_, memory_.size);
}

bool MappedMemory::InBounds(uint64_t offset, uint64_t size) const {
  return offset <= memory_.size && size <= memory_.size - offset;
}

bool MappedMemory::Map() {
  if (retired_) return false;
  if (mapping_ != nullptr) return true;
  void* twin = mmap(nullptr, memory_.size, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (twin == MAP_FAILED) return false;
  void* mapping = nullptr;
  if (memory_.table->MapMemory(memory_.device, memory_.memory, 0, VK_WHOLE_SIZE, 0, &mapping) !=
      VK_SUCCESS) {
    munmap(twin, memory_.size);
    return false;
  }
  twin_ = static_cast<uint8_t*>(twin);
  mapping_ = static_cast<uint8_t*>(mapping);
  return true;
}

VkMappedMemoryRange MappedMemory::Rounded(uint64_t offset, uint64_t size) const {
  const uint64_t atom = std::max<uint64_t>(memory_.atom, 1);
  const uint64_t begin = offset / atom * atom;
  const uint64_t end = (offset + size + atom - 1) / atom * atom;
  return {VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE, nullptr, memory_.memory, begin,
          end >= memory_.size ? VK_WHOLE_SIZE : end - begin};
}

bool MappedMemory::BeginImport() {
  const std::lock_guard lock(mutex_);
  if (!Map()) return false;
  std::memset(mapping_, 0, memory_.size);
  if (!memory_.coherent) {
    const VkMappedMemoryRange whole = Rounded(0, memory_.size);
    memory_.table->FlushMappedMemoryRanges(memory_.device, 1, &whole);
  }
  ranges_.push_back({memory_.id, 0, memory_.size});
  return true;
}

bool MappedMemory::AddRange(const wire::MemoryRange& range, std::string* error) {
  if (!InBounds(range.offset, range.size)) {
    *error =
        fmt::format("a mapping of {} bytes at {} of {}", range.size, range.offset, memory_.size);
    return false;
  }
  const std::lock_guard lock(mutex_);
  ranges_.push_back(range);
  return true;
}

bool MappedMemory::RemoveRange(const wire::MemoryRange& range, std::string* error) {
  if (!InBounds(range.offset, range.size)) {
    *error =
        fmt::format("an unmapping of {} bytes at {} of {}", range.size, range.offset, memory_.size);
    return false;
  }
  const std::lock_guard lock(mutex_);
  const auto same = [&](const wire::MemoryRange& r) {
    return r.offset == range.offset && r.size == range.size;
  };
  const auto found = std::find_if(ranges_.begin(), ranges_.end(), same);
  if (found != ranges_.end()) ranges_.erase(found);
  return true;
}

bool MappedMemory::Write(uint32_t count, std::span<const uint8_t> runs, std::string* error) {
  const std::lock_guard lock(mutex_);
  const bool mapped = Map();
  std::vector<VkMappedMemoryRange> flushes;
  for (uint32_t i = 0; i < count; ++i) {
    if (runs.size() < sizeof(wire::MemoryRun)) {
      *error = fmt::format("{} memory runs announced, {} present", count, i);
      return false;
    }
    const auto run = wire::Load<wire::MemoryRun>(runs.data());
    runs = runs.subspan(sizeof(wire::MemoryRun));
    if (!InBounds(run.offset, run.size) || run.size > runs.size()) {
      *error = fmt::format("a write of {} bytes at {} of {} with {} bytes left in the message",
                           run.size, run.offset, memory_.size, runs.size());
      return false;
    }
    if (mapped) {
      std::memcpy(mapping_ + run.offset, runs.data(), run.size);
      std::memcpy(twin_ + run.offset, runs.data(), run.size);
      if (!memory_.coherent && run.size != 0) flushes.push_back(Rounded(run.offset, run.size));
    }
    runs = runs.subspan(std::min<size_t>(runs.size(), (run.size + 7) / 8 * 8));
  }
  if (!flushes.empty()) {
    memory_.table->FlushMappedMemoryRanges(memory_.device, static_cast<uint32_t>(flushes.size()),
                                           flushes.data());
  }
  return true;
}

uint64_t MappedMemory::Scan(Events* events) {
  std::vector<wire::MemoryRange> ranges;
  {
    const std::lock_guard lock(mutex_);
    ranges = ranges_;
  }
  uint64_t changed = 0;
  for (const wire::MemoryRange& range : ranges)
    changed += ScanRange(range.offset, range.size, events);
  return changed;
}

bool MappedMemory::Fetch(const wire::MemoryRange& range, Events* events, std::string* error) {
  if (!InBounds(range.offset, range.size)) {
    *error = fmt::format("a fetch of {} bytes at {} of {}", range.size, range.offset, memory_.size);
    return false;
  }
  ScanRange(range.offset, range.size, events);
  return true;
}

uint64_t MappedMemory::ScanRange(uint64_t offset, uint64_t size, Events* events) {
  uint64_t changed = 0;
  while (size != 0) {
    const size_t piece = static_cast<size_t>(std::min<uint64_t>(size, kPiece));
    const std::lock_guard lock(mutex_);
    if (!Map()) return changed;
    changed += ScanPiece(offset, piece, events);
    offset += piece;
    size -= piece;
  }
  return changed;
}

// What is sent is what the twin gets: the GPU may write on, so each block is copied before it is
// compared.
uint64_t MappedMemory::ScanPiece(uint64_t offset, size_t size, Events* events) {
  if (!memory_.coherent) {
    const VkMappedMemoryRange range = Rounded(offset, size);
    memory_.table->InvalidateMappedMemoryRanges(memory_.device, 1, &range);
  }
  runs_.clear();
  snapshot_.resize(kPiece);
  for (size_t at = 0; at < size; at += kBlock) {
    const size_t block = std::min(kBlock, size - at);
    const uint8_t* current = mapping_ + offset + at;
    const uint8_t* known = twin_ + offset + at;
    if (std::memcmp(current, known, block) == 0) continue;
    std::memcpy(snapshot_.data() + at, current, block);
    FindRuns({snapshot_.data() + at, block}, {known, block}, offset + at, &runs_);
  }
  uint64_t changed = 0;
  for (const ByteRun& run : runs_) {
    std::memcpy(twin_ + run.offset, snapshot_.data() + (run.offset - offset), run.size);
    changed += run.size;
  }
  // Sent under the lock: changes of one byte reach the client in the order in which they were
  // found.
  if (changed != 0) events->MemoryChanged(memory_.id, runs_, {snapshot_.data(), size}, offset);
  return changed;
}

void MappedMemory::Retire() {
  const std::lock_guard lock(mutex_);
  retired_ = true;
  ranges_.clear();
}

void MemoryTable::Register(const HostMemory& memory) {
  const std::lock_guard lock(mutex_);
  memories_.insert_or_assign(memory.id, std::make_shared<MappedMemory>(memory));
}

bool MemoryTable::RegisterImport(const HostMemory& memory) {
  auto made = std::make_shared<MappedMemory>(memory);
  if (!made->BeginImport()) return false;
  const std::lock_guard lock(mutex_);
  memories_.insert_or_assign(memory.id, std::move(made));
  return true;
}

void MemoryTable::Unregister(ObjectId id) {
  const std::shared_ptr<MappedMemory> memory = Find(id);
  if (memory == nullptr) return;
  memory->Retire();
  const std::lock_guard lock(mutex_);
  memories_.erase(id);
}

std::vector<std::shared_ptr<MappedMemory>> MemoryTable::OfDevice(VkDevice device) {
  std::vector<std::shared_ptr<MappedMemory>> memories;
  const std::lock_guard lock(mutex_);
  for (const auto& [id, memory] : memories_) {
    if (memory->memory().device == device) memories.push_back(memory);
  }
  return memories;
}

void MemoryTable::UnregisterAll(VkDevice device) {
  for (const auto& memory : OfDevice(device)) Unregister(memory->memory().id);
}

std::shared_ptr<MappedMemory> MemoryTable::Find(ObjectId id) {
  const std::lock_guard lock(mutex_);
  const auto found = memories_.find(id);
  return found == memories_.end() ? nullptr : found->second;
}

void MemoryTable::Scan(VkDevice device) {
  for (const auto& memory : OfDevice(device)) changed_bytes_ += memory->Scan(events_);
}

bool MemoryTable::Execute(wire::Control control, std::span<const uint8_t> body,
                          std::string* error) {
  const bool write = control == wire::Control::kMemoryWrite;
  if (body.size() < (write ? sizeof(wire::MemoryRuns) : sizeof(wire::MemoryRange))) {
    *error = fmt::format("a memory control of {} bytes", body.size());
    return false;
  }
  const std::shared_ptr<MappedMemory> memory = Find(wire::Load<ObjectId>(body.data()));
  if (memory == nullptr) return true;
  if (write) {
    const auto runs = wire::Load<wire::MemoryRuns>(body.data());
    written_bytes_ += body.size();
    return memory->Write(runs.count, body.subspan(sizeof(runs)), error);
  }
  const auto range = wire::Load<wire::MemoryRange>(body.data());
  switch (control) {
    case wire::Control::kMemoryMapped:
      return memory->AddRange(range, error);
    case wire::Control::kMemoryUnmapped:
      return memory->RemoveRange(range, error);
    default:
      return memory->Fetch(range, events_, error);
  }
}

}  // namespace vesper::server
