#include "server/memory.h"

#include <fmt/core.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "runtime/wire/decoder.h"
#include "runtime/wire/memory_runs.h"

namespace vesper::server {
namespace {

constexpr size_t kPiece = 256 * 1024;  // scanned under one hold of the lock
constexpr size_t kBlock = 4096;        // compared at once
constexpr size_t kMaxLate = 256;
constexpr size_t kAlone = 64;  // a change of so few bytes, and so far from others, may be a flag

}  // namespace

MappedMemory::~MappedMemory() {
  if (twin_ != nullptr) munmap(twin_, memory_.size);
}

bool MappedMemory::Check(const wire::MemoryRange& range, const char* what, std::string* error) const {
  if (range.offset <= memory_.size && range.size <= memory_.size - range.offset) return true;
  *error = fmt::format("{} of {} bytes at {} of {}", what, range.size, range.offset, memory_.size);
  return false;
}

bool MappedMemory::Map() {
  if (retired_) return false;
  if (mapping_ != nullptr) return true;
  void* twin = mmap(nullptr, memory_.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (twin == MAP_FAILED) return false;
  void* mapping = nullptr;
  if (memory_.table->MapMemory(memory_.device, memory_.memory, 0, VK_WHOLE_SIZE, 0, &mapping) != VK_SUCCESS) {
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

// What the client takes for zeros must be zeros here: it sends only what differs.
void MappedMemory::Clear() {
  static constexpr uint8_t kZeros[kBlock] = {};
  for (uint64_t at = 0; at < memory_.size; at += kBlock) {
    const auto block = static_cast<size_t>(std::min<uint64_t>(kBlock, memory_.size - at));
    // Pages that were never touched stay so.
    if (!memory_.cached || std::memcmp(mapping_ + at, kZeros, block) != 0) std::memset(mapping_ + at, 0, block);
  }
  if (memory_.flushed) {
    const VkMappedMemoryRange all = Rounded(0, memory_.size);
    memory_.table->FlushMappedMemoryRanges(memory_.device, 1, &all);
  }
}

bool MappedMemory::AddRange(const wire::MemoryMapping& mapping, std::string* error) {
  if (!Check(mapping.range, "a mapping", error)) return false;
  const std::lock_guard lock(mutex_);
  if (mapping.fresh != 0 && mapping_ == nullptr && Map()) Clear();
  ranges_.push_back(mapping.range);
  return true;
}

bool MappedMemory::RemoveRange(const wire::MemoryRange& range, std::string* error) {
  if (!Check(range, "an unmapping", error)) return false;
  const std::lock_guard lock(mutex_);
  const auto same = [&](const wire::MemoryRange& r) { return r.offset == range.offset && r.size == range.size; };
  const auto found = std::find_if(ranges_.begin(), ranges_.end(), same);
  if (found != ranges_.end()) ranges_.erase(found);
  return true;
}

bool MappedMemory::AddWritable(const wire::MemoryRange& range, std::string* error) {
  if (!Check(range, "a writable range", error)) return false;
  const std::lock_guard lock(mutex_);
  writable_.Add(range.offset, range.offset + range.size);
  return true;
}

bool MappedMemory::Write(uint32_t count, std::span<const uint8_t> runs, std::string* error) {
  const std::lock_guard lock(mutex_);
  const bool mapped = Map();
  std::vector<VkMappedMemoryRange> flushes;
  for (uint32_t i = 0; i < count; ++i) {
    wire::Run run;
    if (!wire::NextRun(&runs, &run)) {
      *error = fmt::format("{} memory runs announced, {} well-formed", count, i);
      return false;
    }
    if (!Check({memory_.id, run.offset, run.extent}, "a write", error)) return false;
    if (!mapped || run.extent == 0) continue;
    wire::ForEachPiece(run, [&](uint64_t offset, std::span<const uint8_t> bytes) {
      std::memcpy(mapping_ + offset, bytes.data(), bytes.size());
      std::memcpy(twin_ + offset, bytes.data(), bytes.size());
    });
    if (memory_.flushed) flushes.push_back(Rounded(run.offset, run.extent));
  }
  if (!flushes.empty()) {
    memory_.table->FlushMappedMemoryRanges(memory_.device, static_cast<uint32_t>(flushes.size()), flushes.data());
  }
  return true;
}

bool MappedMemory::Watched() {
  const std::lock_guard lock(mutex_);
  return std::any_of(ranges_.begin(), ranges_.end(), [this](const auto& range) {
    return writable_.Intersects(range.offset, range.offset + range.size);
  });
}

bool MappedMemory::Mapped() {
  const std::lock_guard lock(mutex_);
  return !ranges_.empty();
}

uint64_t MappedMemory::Scan(Events* events, Small small, std::vector<LateBytes>* late) {
  std::vector<wire::MemoryRange> watched;
  {
    const std::lock_guard lock(mutex_);
    for (const wire::MemoryRange& range : ranges_) {
      writable_.ForEachIn(range.offset, range.offset + range.size, [&](uint64_t begin, uint64_t end) {
        watched.push_back({memory_.id, begin, end - begin});
      });
    }
  }
  uint64_t changed = 0;
  for (const wire::MemoryRange& range : watched) changed += ScanRange(range.offset, range.size, events, small, late);
  return changed;
}

bool MappedMemory::Fetch(const wire::MemoryRange& range, Events* events, std::string* error) {
  if (!Check(range, "a fetch", error)) return false;
  ScanRange(range.offset, range.size, events, Small::kSend, nullptr);
  return true;
}

uint64_t MappedMemory::ScanRange(uint64_t offset, uint64_t size, Events* events, Small small,
                                 std::vector<LateBytes>* late) {
  uint64_t changed = 0;
  while (size != 0) {
    const size_t piece = static_cast<size_t>(std::min<uint64_t>(size, kPiece));
    const std::lock_guard lock(mutex_);
    if (!Map()) return changed;
    changed += ScanPiece(offset, piece, events, small, late);
    offset += piece;
    size -= piece;
  }
  return changed;
}

// What is sent is what the twin gets: the GPU may write on, so each block is copied before it is
// compared.
uint64_t MappedMemory::ScanPiece(uint64_t offset, size_t size, Events* events, Small small,
                                 std::vector<LateBytes>* late) {
  if (memory_.flushed) {
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
  if (small != Small::kSend) SetSmallAside(offset, small, late);
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

// Takes those runs off `runs_` that lie alone.
void MappedMemory::SetSmallAside(uint64_t offset, Small small, std::vector<LateBytes>* late) {
  size_t kept = 0;
  for (size_t first = 0; first < runs_.size();) {
    size_t last = first;
    const auto end = [this](size_t i) { return runs_[i].offset + runs_[i].size; };
    while (last + 1 < runs_.size() && runs_[last + 1].offset - end(last) < kAlone) ++last;
    const bool full = late != nullptr && late->size() >= kMaxLate;  // too many to be flags
    const bool alone = !full && end(last) - runs_[first].offset <= kAlone;
    for (; first <= last; ++first) {
      const ByteRun run = runs_[first];
      if (!alone) {
        runs_[kept++] = run;
      } else if (small == Small::kHold) {
        const uint8_t* bytes = snapshot_.data() + (run.offset - offset);
        late->push_back({memory_.id, run.offset, {bytes, bytes + run.size}});
        std::memcpy(twin_ + run.offset, bytes, run.size);
      }
    }
  }
  runs_.resize(kept);
}

void MappedMemory::Retire() {
  const std::lock_guard lock(mutex_);
  retired_ = true;
  ranges_.clear();
}

void MemoryTable::Register(const HostMemory& memory) {
  const std::lock_guard lock(mutex_);
  memories_.insert_or_assign(memory.id, std::make_shared<MappedMemory>(memory));
  mapped_.erase(memory.id);
}

void MemoryTable::Unregister(ObjectId id) {
  const std::shared_ptr<MappedMemory> memory = Find(id);
  if (memory == nullptr) return;
  memory->Retire();
  const std::lock_guard lock(mutex_);
  memories_.erase(id);
  mapped_.erase(id);
}

std::vector<std::shared_ptr<MappedMemory>> MemoryTable::MappedOf(VkDevice device) {
  std::vector<std::shared_ptr<MappedMemory>> memories;
  const std::lock_guard lock(mutex_);
  for (const auto& [id, memory] : mapped_) {
    if (memory->memory().device == device) memories.push_back(memory);
  }
  return memories;
}

void MemoryTable::NoteMapped(const std::shared_ptr<MappedMemory>& memory) {
  const bool mapped = memory->Mapped();
  const std::lock_guard lock(mutex_);
  if (mapped) {
    mapped_.emplace(memory->memory().id, memory);
  } else {
    mapped_.erase(memory->memory().id);
  }
}

void MemoryTable::UnregisterAll(VkDevice device) {
  std::vector<ObjectId> ids;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, memory] : memories_) {
      if (memory->memory().device == device) ids.push_back(id);
    }
  }
  for (const ObjectId id : ids) Unregister(id);
}

std::shared_ptr<MappedMemory> MemoryTable::Find(ObjectId id) {
  const std::lock_guard lock(mutex_);
  const auto found = memories_.find(id);
  return found == memories_.end() ? nullptr : found->second;
}

bool MemoryTable::Watches(VkDevice device) {
  const auto memories = MappedOf(device);
  return std::any_of(memories.begin(), memories.end(), [](const auto& memory) { return memory->Watched(); });
}

// A program that polls memory while the GPU writes it expects to see what was written before a flag
// once it sees the flag. So flags go last, and behind a second look at everything else.
void MemoryTable::Scan(VkDevice device, bool running) {
  using Small = MappedMemory::Small;
  const std::lock_guard scan(scan_mutex_);
  ++scans_;
  const auto memories = MappedOf(device);
  std::vector<LateBytes> late;
  uint64_t changed = 0;
  for (const auto& memory : memories) {
    changed += memory->Scan(events_, Small::kHold, &late);
  }
  if (running && !late.empty()) {
    for (const auto& memory : memories) {
      changed += memory->Scan(events_, Small::kSkip, nullptr);
    }
  }
  for (const LateBytes& each : late) {
    const ByteRun run{each.offset, each.bytes.size()};
    events_->MemoryChanged(each.memory, {&run, 1}, each.bytes, each.offset);
    changed += each.bytes.size();
  }
  changed_bytes_ += changed;
}

bool MemoryTable::Execute(wire::Control control, std::span<const uint8_t> body, std::string* error) {
  size_t least = sizeof(wire::MemoryRange);
  if (control == wire::Control::kMemoryWrite) least = sizeof(wire::MemoryRuns);
  if (control == wire::Control::kMemoryMapped) least = sizeof(wire::MemoryMapping);
  if (body.size() < least) {
    *error = fmt::format("a memory control of {} bytes", body.size());
    return false;
  }
  const std::shared_ptr<MappedMemory> memory = Find(wire::Load<ObjectId>(body.data()));
  if (memory == nullptr) return true;
  switch (control) {
    case wire::Control::kMemoryWrite: {
      const auto runs = wire::Load<wire::MemoryRuns>(body.data());
      written_bytes_ += body.size();
      return memory->Write(runs.count, body.subspan(sizeof(runs)), error);
    }
    case wire::Control::kMemoryMapped:
      if (!memory->AddRange(wire::Load<wire::MemoryMapping>(body.data()), error)) return false;
      NoteMapped(memory);
      return true;
    case wire::Control::kMemoryUnmapped:
      if (!memory->RemoveRange(wire::Load<wire::MemoryRange>(body.data()), error)) return false;
      NoteMapped(memory);
      return true;
    case wire::Control::kMemoryWritable:
      return memory->AddWritable(wire::Load<wire::MemoryRange>(body.data()), error);
    default: {
      const std::lock_guard scan(scan_mutex_);
      return memory->Fetch(wire::Load<wire::MemoryRange>(body.data()), events_, error);
    }
  }
}

}  // namespace vesper::server
