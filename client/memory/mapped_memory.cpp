#include "client/memory/mapped_memory.h"

#include <algorithm>
#include <new>

#include "client/base/limits.h"
#include "client/tracking/foreign_tracker.h"

namespace vesper::client {
namespace {

// Cuts `size` to what lies in the memory.
uint64_t EndOf(const MemoryState& memory, uint64_t offset, uint64_t size) {
  if (offset >= memory.size) return memory.size;
  return size > memory.size - offset ? memory.size : offset + size;
}

// Where a slice of up to `size` bytes ends that begins there: between two pages, or two groups of them.
uint64_t SliceEnd(uint64_t begin, uint64_t size) {
  constexpr uint64_t kPage = limits::kBlockBytes;
  const uint64_t unit = size >= 2 * limits::kGroupBytes ? limits::kGroupBytes : kPage;
  return std::max(begin + kPage, begin + size) / unit * unit;
}

}  // namespace

// --- what the device may write -------------------------------------------------------------------------------------------

bool MappedMemory::Memory::MayDiffer(uint64_t begin, uint64_t end, uint64_t submitted) const {
  if (!known.Covers(begin, end)) return true;
  const bool equal = begin >= equal_begin && end <= equal_end && equal_at == submitted;
  return !equal && writable.Intersects(begin, end);
}

MappedMemory::Memory& MappedMemory::Find(const MemoryState& memory) {
  const auto [found, added] = memories_.try_emplace(memory.id);
  if (added && (all_writable_ || memory.foreign)) AddWritable(memory.id, &found->second, 0, memory.size);
  return found->second;
}

bool MappedMemory::AddWritable(ObjectId id, Memory* memory, uint64_t begin, uint64_t end) {
  if (!memory->writable.Add(begin, end)) return true;
  if (!Settle(id, memory, begin, end)) return false;
  const wire::MemoryRange range{id, begin, end - begin};
  return link_->PostControl(wire::Control::kMemoryWritable, &range, sizeof(range));
}

void MappedMemory::NoteWritable(const MemoryState& memory, uint64_t offset, uint64_t size) noexcept {
  if (!memory.visible() || link_->lost()) return;
  const FairMutexLock lock(mutex_);
  try {
    AddWritable(memory.id, &Find(memory), std::min(offset, memory.size), EndOf(memory, offset, size));
  } catch (const std::bad_alloc&) {
    link_->MarkLost("memory is exhausted while binding memory");
  }
}

void MappedMemory::NoteAllWritable() noexcept {
  if (link_->lost()) return;
  const FairMutexLock lock(mutex_);
  if (std::exchange(all_writable_, true)) return;
  try {
    for (auto& [id, memory] : memories_) {
      const MemoryState* state = link_->FindMemory(id);
      if (state != nullptr) AddWritable(id, &memory, 0, state->size);
    }
  } catch (const std::bad_alloc&) {
    link_->MarkLost("memory is exhausted while binding memory");
  }
}

// --- mapping -------------------------------------------------------------------------------------------------------------

VkResult MappedMemory::Map(const MemoryState& memory, uint64_t offset, uint64_t size, void** data) noexcept {
  if (size == VK_WHOLE_SIZE) size = memory.size - std::min(offset, memory.size);
  if (offset > memory.size || size > memory.size - offset) return VK_ERROR_MEMORY_MAP_FAILED;
  if (link_->lost()) return VK_ERROR_OUT_OF_DEVICE_MEMORY;
  bool fetch = false;
  uint8_t* shadow = nullptr;
  try {
    const FairMutexLock lock(mutex_);
    Memory& found = Find(memory);
    wire::MemoryMapping mapping{{memory.id, offset, size}, 0};
    if (found.tracker == nullptr) {
      found.tracker = MakeTracker(ChosenTracker(), memory.size);
      if (found.tracker == nullptr) return VK_ERROR_OUT_OF_HOST_MEMORY;
      const bool written = submitted_.load() != memory.allocated_at && found.writable.Intersects(0, memory.size);
      if (!memory.foreign && !written) {
        mapping.fresh = 1;
        found.known.Add(0, memory.size);
        found.equal_begin = 0;
        found.equal_end = memory.size;
        found.equal_at = submitted_.load();
      }
    }
    fetch = memory.foreign || found.MayDiffer(offset, offset + size, submitted_.load());
    EndMapping(&found);
    found.offset = offset;
    found.size = size;
    found.coherent = memory.coherent() && !memory.read_only;
    found.pictures = memory.read_only;
    found.mapped = true;
    if (found.coherent) coherent_count_.fetch_add(1);
    if (!link_->PostControl(wire::Control::kMemoryMapped, &mapping, sizeof(mapping))) return VK_ERROR_MEMORY_MAP_FAILED;
    shadow = found.tracker->shadow();
  } catch (const std::bad_alloc&) {
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  if (fetch && !Fetch(memory, offset, size)) return VK_ERROR_MEMORY_MAP_FAILED;
  if (WantsExchange()) link_->StartPulse();
  *data = shadow + offset;
  return VK_SUCCESS;
}

const uint8_t* MappedMemory::Content(const MemoryState& memory, uint64_t offset, uint64_t size) noexcept {
  const FairMutexLock lock(mutex_);
  const auto found = memories_.find(memory.id);
  if (found == memories_.end() || !found->second.mapped) return nullptr;
  const Memory& mapped = found->second;
  if (offset < mapped.offset || size > mapped.size || offset - mapped.offset > mapped.size - size) return nullptr;
  return mapped.tracker->shadow() + offset;
}

VkResult MappedMemory::Import(const MemoryState& memory) noexcept {
  if (link_->lost()) return VK_ERROR_OUT_OF_DEVICE_MEMORY;
  try {
    auto tracker = MakeForeignTracker(memory.imported, memory.size);
    if (tracker == nullptr) return VK_ERROR_OUT_OF_HOST_MEMORY;
    const FairMutexLock lock(mutex_);
    Memory& made = Find(memory);
    made.tracker = std::move(tracker);
    made.size = memory.size;
    made.coherent = true;
    made.mapped = true;
    made.known.Add(0, memory.size);
    coherent_count_.fetch_add(1);
    const wire::MemoryMapping mapping{{memory.id, 0, memory.size}, 1};
    if (!link_->PostControl(wire::Control::kMemoryMapped, &mapping, sizeof(mapping)))
      return VK_ERROR_OUT_OF_DEVICE_MEMORY;
  } catch (const std::bad_alloc&) {
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  if (WantsExchange()) link_->StartPulse();
  return VK_SUCCESS;
}

void MappedMemory::NoteEqual(Memory* memory) noexcept {
  const uint64_t submitted = submitted_.load();
  const bool idle = completed_.load() == submitted;
  memory->equal_begin = memory->offset;
  memory->equal_end = idle ? memory->offset + memory->size : 0;
  memory->equal_at = submitted;
}

void MappedMemory::EndMapping(Memory* memory) noexcept {
  if (memory->mapped && memory->coherent) coherent_count_.fetch_sub(1);
  memory->mapped = false;
}

void MappedMemory::Unmap(const MemoryState& memory) noexcept {
  if (link_->lost()) return;
  if (memory.coherent() && !memory.read_only) SendRange(memory, 0, memory.size);
  const FairMutexLock lock(mutex_);
  const auto found = memories_.find(memory.id);
  if (found == memories_.end() || !found->second.mapped) return;
  const wire::MemoryRange range{memory.id, found->second.offset, found->second.size};
  link_->PostControl(wire::Control::kMemoryUnmapped, &range, sizeof(range));
  NoteEqual(&found->second);
  EndMapping(&found->second);
}

void MappedMemory::Drop(const MemoryState& memory) noexcept {
  if (link_->abandoned()) return;  // the lock's holder may be a thread that this process does not have
  const FairMutexLock lock(mutex_);
  const auto found = memories_.find(memory.id);
  if (found == memories_.end()) return;
  EndMapping(&found->second);
  memories_.erase(found);
}

// --- from the application to the device ----------------------------------------------------------------------------------

bool MappedMemory::SendWrites() noexcept {
  if (coherent_count_.load() == 0) return true;
  return InSlices([this](Cursor* at) VESPER_REQUIRES(mutex_) { return SendSlice(at); });
}

template <typename Step>
bool MappedMemory::InSlices(Step step) noexcept {
  Cursor at;
  at.trigger = triggers_.fetch_add(1) + 1;
  at.slice = DenseSlice();
  while (!at.done) {
    if (!link_->AwaitBulkRoom()) return false;
    const FairMutexLock lock(mutex_);
    try {
      if (!step(&at)) return false;
    } catch (const std::bad_alloc&) {
      link_->MarkLost("memory is exhausted while sending mapped memory");
      return false;
    }
  }
  return true;
}

bool MappedMemory::SendSlice(Cursor* at) {
  uint64_t left = at->slice;
  uint64_t searched = 0;
  const uint64_t posted = posted_;
  for (auto it = memories_.lower_bound(at->memory); it != memories_.end(); ++it) {
    auto& [id, memory] = *it;
    if (!memory.mapped || !memory.coherent) continue;
    const uint64_t begin = std::max(memory.offset, id == at->memory ? at->offset : 0);
    const uint64_t end = memory.offset + memory.size;
    if (begin >= end) continue;
    const uint64_t until = std::min(end, SliceEnd(begin, left));
    if (!Send(id, &memory, begin, until - begin, at->trigger)) return false;
    left -= std::min(left, until - begin);
    searched += until - begin;
    if (until < end || left == 0) {
      at->memory = id;
      at->offset = until;
      at->slice = NextSlice(at->slice, searched, posted_ - posted);
      return true;
    }
  }
  at->done = true;
  return true;
}

bool MappedMemory::SendRange(const MemoryState& memory, uint64_t offset, uint64_t size) noexcept {
  return InSlices([&](Cursor* at) VESPER_REQUIRES(mutex_) {
    at->done = true;
    const auto found = memories_.find(memory.id);
    if (found == memories_.end() || !found->second.mapped) return true;
    const Memory& mapped = found->second;
    const uint64_t begin = std::max({offset, mapped.offset, at->offset});
    const uint64_t end = std::min(EndOf(memory, offset, size), mapped.offset + mapped.size);
    if (begin >= end) return true;
    const uint64_t posted = posted_;
    at->offset = std::min(end, SliceEnd(begin, at->slice));
    at->done = at->offset == end;
    const bool sent = Send(memory.id, &found->second, begin, at->offset - begin, at->trigger);
    at->slice = NextSlice(at->slice, at->offset - begin, posted_ - posted);
    return sent;
  });
}

uint64_t MappedMemory::DenseSlice() const noexcept {
  const uint64_t rate = link_->line_rate();
  if (rate == 0) return limits::kDenseSliceBytes;
  return std::clamp(rate / limits::kSliceOfSecond, limits::kLeastSliceBytes, limits::kDenseSliceBytes);
}

// What changed leaves while the rest is searched: in small slices where much did.
uint64_t MappedMemory::NextSlice(uint64_t slice, uint64_t searched, uint64_t posted) const noexcept {
  if (posted >= searched / 8) return DenseSlice();
  const uint64_t rate = link_->line_rate();
  const bool slow = rate != 0 && rate < limits::kSlowLine;
  return std::min(2 * slice, slow ? limits::kSlowSliceBytes : limits::kSliceBytes);
}

template <typename Searching>
bool MappedMemory::PostFound(ObjectId id, Searching search) {
  bool begun = false;
  bool sent = true;
  wire::RunWriter* const writer = &writer_;
  const auto post = [link = link_, writer, posted = &posted_] {
    *posted += writer->Finish().size();
    return link->PostMemory(writer->buffer());
  };
  search([&](const wire::Changes& changes, size_t count) {
    if (!begun) writer->Begin(id);
    begun = true;
    writer->Add(changes);
    Count(link_->statistics().dirty_bytes, count);
    if (writer->size() < limits::kMemoryRecordBytes) return;
    sent = post() && sent;
    begun = false;
  });
  return (!begun || post()) && sent;
}

bool MappedMemory::Send(ObjectId id, Memory* memory, uint64_t offset, uint64_t size, uint64_t trigger) {
  constexpr uint64_t kPage = limits::kBlockBytes;
  const bool alone = !memory->writable.Intersects(offset / kPage * kPage, (offset + size + kPage - 1) / kPage * kPage);
  const uint64_t rate = link_->line_rate();
  const auto whole = rate == 0 || rate >= limits::kFastLine ? Search::Whole::kAnything : Search::Whole::kDense;
  const Search search{trigger, alone ? whole : Search::Whole::kNever};
  return PostFound(id, [&](ChangeSink sink) {
    memory->tracker->Collect(offset, size, sink, search);
    Count(link_->statistics().compared_bytes, memory->tracker->TakeLooked());
  });
}

bool MappedMemory::Settle(ObjectId id, Memory* memory, uint64_t begin, uint64_t end) {
  if (memory->tracker == nullptr) return true;
  return PostFound(id, [&](ChangeSink sink) { memory->tracker->Settle(begin, end - begin, sink); });
}

// --- from the device to the application ----------------------------------------------------------------------------------

// What completed has come with its completion, coherent or not: were it not there, an application that overwrites it with
// what it last saw would seem to have written nothing.
bool MappedMemory::FetchRange(const MemoryState& memory, uint64_t offset, uint64_t size) noexcept {
  if (link_->lost()) return false;
  const uint64_t begin = std::min(offset, memory.size);
  const uint64_t end = EndOf(memory, offset, size);
  {
    const FairMutexLock lock(mutex_);
    const auto found = memories_.find(memory.id);
    if (found == memories_.end()) return true;
    const Memory& mapped = found->second;
    const bool running = submitted_.load() != completed_.load() && mapped.writable.Intersects(begin, end);
    if (!memory.foreign && !running && mapped.known.Covers(begin, end)) return true;
  }
  return Fetch(memory, begin, end - begin);
}

bool MappedMemory::Fetch(const MemoryState& memory, uint64_t offset, uint64_t size) noexcept {
  const wire::MemoryRange range{memory.id, offset, size};
  if (!link_->AskControl(wire::Control::kMemoryFetch, &range, sizeof(range))) return false;
  const FairMutexLock lock(mutex_);
  const auto found = memories_.find(memory.id);
  try {
    if (found != memories_.end()) found->second.known.Add(offset, offset + size);
  } catch (const std::bad_alloc&) {  // it is fetched once more
  }
  return true;
}

void MappedMemory::Apply(ObjectId id, std::span<wire::Run> runs) noexcept {
  const FairMutexLock lock(mutex_);
  const auto found = memories_.find(id);
  if (found == memories_.end() || found->second.tracker == nullptr) return;
  const std::span<const wire::Run> applied = found->second.tracker->Apply(runs);
  uint64_t changed = 0;
  for (const wire::Run& run : applied) changed += run.changed();
  Count(link_->statistics().received_bytes, changed);
  if (found->second.pictures) Count(link_->statistics().frame_bytes, changed);
  Count(link_->statistics().blocks_received, applied.size());
}

}  // namespace vesper::client
