#include "server/memory/memory.h"

#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>

#include "runtime/wire/decoder.h"
#include "server/base/log.h"
#include "server/channel/events.h"
#include "server/memory/mapped_memory.h"
#include "server/memory/write_ledger.h"

namespace vesper::server {
namespace {

bool Is(const char* variable, const char* wanted) {
  const char* value = std::getenv(variable);
  return value != nullptr && std::strcmp(value, wanted) == 0;
}

// Takes out of `older` what `newer` says of the same bytes.
void DropOverwritten(const LateBytes& newer, LateBytes* older) {
  if (newer.memory != older->memory) return;
  for (size_t i = 0; i < older->size; ++i) {
    const uint64_t at = older->offset + i;
    if (at < newer.offset || at >= newer.offset + newer.size) continue;
    const uint64_t j = at - newer.offset;
    if ((newer.mask[j / 64] >> (j % 64) & 1) != 0) older->mask[i / 64] &= ~(uint64_t{1} << (i % 64));
  }
}

}  // namespace

MemoryTable::MemoryTable(Events* events)
    : events_(events),
      writes_(std::make_unique<WriteLedger>(!Is("VESPER_WRITE_SETS", "0"))),
      checks_(Is("VESPER_CHECK_WRITES", "1")) {}

MemoryTable::~MemoryTable() = default;

void MemoryTable::Register(const HostMemory& memory) {
  const MutexLock lock(mutex_);
  memories_.insert_or_assign(memory.id, std::make_shared<MappedMemory>(memory));
  mapped_.erase(memory.id);
}

void MemoryTable::Unregister(ObjectId id) {
  const std::shared_ptr<MappedMemory> memory = Find(id);
  if (memory == nullptr) return;
  memory->Retire();
  const MutexLock lock(mutex_);
  memories_.erase(id);
  mapped_.erase(id);
}

std::vector<std::shared_ptr<MappedMemory>> MemoryTable::MappedOf(VkDevice device) {
  std::vector<std::shared_ptr<MappedMemory>> memories;
  const MutexLock lock(mutex_);
  for (const auto& [id, memory] : mapped_) {
    if (memory->memory().device == device) memories.push_back(memory);
  }
  return memories;
}

void MemoryTable::NoteMapped(const std::shared_ptr<MappedMemory>& memory) {
  const bool mapped = memory->Mapped();
  const MutexLock lock(mutex_);
  if (mapped) {
    mapped_.emplace(memory->memory().id, memory);
  } else {
    mapped_.erase(memory->memory().id);
  }
}

void MemoryTable::UnregisterAll(VkDevice device) {
  std::vector<ObjectId> ids;
  {
    const MutexLock lock(mutex_);
    for (const auto& [id, memory] : memories_) {
      if (memory->memory().device == device) ids.push_back(id);
    }
  }
  for (const ObjectId id : ids) Unregister(id);
  writes_->Forget(device);
}

std::shared_ptr<MappedMemory> MemoryTable::Find(ObjectId id) {
  const MutexLock lock(mutex_);
  const auto found = memories_.find(id);
  return found == memories_.end() ? nullptr : found->second;
}

bool MemoryTable::Watches(VkDevice device) {
  const auto memories = MappedOf(device);
  return std::any_of(memories.begin(), memories.end(), [](const auto& memory) { return memory->Watched(); });
}

// A program that polls memory while the GPU writes it expects to see what was written before a flag
// once it sees the flag. What is small may be one, or what was written before one that was found in the same look. So it goes
// last, when another look has found nothing more of the kind, and what was found later goes first.
void MemoryTable::Scan(VkDevice device, bool running) {
  using Small = MappedMemory::Small;
  const MutexLock scan(scan_mutex_);
  ++scans_;
  const WriteSet set = writes_->Live(device);
  const auto memories = MappedOf(device);
  std::vector<LateBytes> late;
  std::vector<size_t> looks;  // where in it those of each look begin
  uint64_t changed = 0;
  do {
    looks.push_back(late.size());
    for (const auto& memory : memories) {
      compared_bytes_ += memory->Scan(events_, set, {Small::kHold, &late, nullptr}, &changed);
    }
  } while (running && late.size() != looks.back() && looks.size() < limits::kMaxLooks);
  for (size_t end = late.size(); !looks.empty(); end = looks.back(), looks.pop_back()) {
    for (size_t i = looks.back(); i < end; ++i) {
      for (size_t newer = end; newer < late.size(); ++newer) DropOverwritten(late[newer], &late[i]);
      uint64_t bits = 0;
      for (const uint64_t mask : late[i].mask) bits += static_cast<uint64_t>(std::popcount(mask));
      if (bits != 0) events_->MemoryChanged(late[i].memory, late[i].Changes());
      changed += bits;
    }
  }
  changed_bytes_ += changed;
  if (checks_ && !running) Check(device, memories);
}

// Compares everything else as well. What changed there must belong to submits that came meanwhile: they live at least until they
// were scanned themselves, for which they wait.
void MemoryTable::Check(VkDevice device, std::span<const std::shared_ptr<MappedMemory>> memories) {
  WriteSet everything;
  everything.everything = true;
  for (const auto& memory : memories) {
    RangeSet changed;
    uint64_t found = 0;
    const bool followed = memory->Followed();
    memory->Scan(events_, everything, {MappedMemory::Small::kSend, nullptr, &changed}, &found);
    if (found == 0 || !followed || !memory->Followed()) continue;
    const WriteSet live = writes_->Live(device);
    if (live.everything || memory->memory().foreign) continue;
    const auto known = live.ranges.find(memory->memory().memory);
    changed.ForEachIn(0, UINT64_MAX, [&](uint64_t begin, uint64_t end) {
      if (known != live.ranges.end() && known->second.Intersects(begin, end)) return;
      missed_bytes_ += end - begin;
      Log(LogLevel::kError, "memory {:#x} changed in {}..{}, which no submit was known to write", memory->memory().id,
          begin, end);
    });
  }
}

void MemoryTable::Presented(const wire::PresentedFrame& frame) {
  const std::shared_ptr<MappedMemory> memory = Find(frame.memory);
  if (memory != nullptr) memory->PicturePresented(frame.offset);
}

bool MemoryTable::Execute(wire::Control control, std::span<const uint8_t> body, std::string* error) {
  size_t least = sizeof(wire::MemoryRange);
  if (control == wire::Control::kMemoryWrite) least = sizeof(wire::MemoryRuns);
  if (control == wire::Control::kMemoryMapped) least = sizeof(wire::MemoryMapping);
  if (control == wire::Control::kPictures) least = sizeof(wire::PictureMemory);
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
    case wire::Control::kPictures:
      return memory->HoldPictures(wire::Load<wire::PictureMemory>(body.data()), error);
    case wire::Control::kMemoryWritable:
      return memory->AddWritable(wire::Load<wire::MemoryRange>(body.data()), error);
    default: {
      events_->BeginHurry();
      const MutexLock scan(scan_mutex_);
      events_->EndHurry();
      return memory->Fetch(wire::Load<wire::MemoryRange>(body.data()), events_, error);
    }
  }
}

}  // namespace vesper::server
