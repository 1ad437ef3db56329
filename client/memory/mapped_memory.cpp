#include "client/memory/mapped_memory.h"

#include <algorithm>
#include <new>

#include "client/memory/foreign_tracker.h"
#include "client/session.h"

namespace vesper::client {
namespace {

// A record of runs is sent when it has grown to this.
constexpr size_t kRecordBytes = 64 * 1024;

// Cuts `size` to what lies in the memory.
uint64_t EndOf(const MemoryState& memory, uint64_t offset, uint64_t size) {
  if (offset >= memory.size) return memory.size;
  return size > memory.size - offset ? memory.size : offset + size;
}

}  // namespace

// --- what the device may write -------------------------------------------------------------------------------------------

bool MappedMemory::Memory::MayDiffer(uint64_t begin, uint64_t end, uint64_t submitted) const {
  if (!known.Covers(begin, end)) return true;
  const bool equal = begin >= equal_begin && end <= equal_end && equal_at == submitted;
  return !equal && writable.Intersects(begin, end);
}

// With the mutex held. May throw std::bad_alloc.
MappedMemory::Memory& MappedMemory::Find(const MemoryState& memory) {
  const auto [found, added] = memories_.try_emplace(memory.id);
  if (added && (all_writable_ || memory.foreign)) AddWritable(memory.id, &found->second, 0, memory.size);
  return found->second;
}

bool MappedMemory::AddWritable(ObjectId id, Memory* memory, uint64_t begin, uint64_t end) {
  if (!memory->writable.Add(begin, end)) return true;
  const wire::MemoryRange range{id, begin, end - begin};
  return session_->PostControl(wire::Control::kMemoryWritable, &range, sizeof(range));
}

void MappedMemory::NoteWritable(const MemoryState& memory, uint64_t offset, uint64_t size) noexcept {
  if (!memory.visible() || session_->lost()) return;
  const std::lock_guard lock(mutex_);
  try {
    AddWritable(memory.id, &Find(memory), std::min(offset, memory.size), EndOf(memory, offset, size));
  } catch (const std::bad_alloc&) {
    session_->connection().MarkLost("memory is exhausted while binding memory");
  }
}

void MappedMemory::NoteAllWritable() noexcept {
  if (session_->lost()) return;
  const std::lock_guard lock(mutex_);
  if (std::exchange(all_writable_, true)) return;
  try {
    for (auto& [id, memory] : memories_) {
      const auto* state = static_cast<const MemoryState*>(session_->states().Find(id));
      if (state != nullptr) AddWritable(id, &memory, 0, state->size);
    }
  } catch (const std::bad_alloc&) {
    session_->connection().MarkLost("memory is exhausted while binding memory");
  }
}

// --- mapping -------------------------------------------------------------------------------------------------------------

VkResult MappedMemory::Map(const MemoryState& memory, uint64_t offset, uint64_t size, void** data) noexcept {
  if (size == VK_WHOLE_SIZE) size = memory.size - std::min(offset, memory.size);
  if (offset > memory.size || size > memory.size - offset) return VK_ERROR_MEMORY_MAP_FAILED;
  if (session_->lost()) return VK_ERROR_OUT_OF_DEVICE_MEMORY;
  bool fetch = false;
  uint8_t* shadow = nullptr;
  try {
    const std::lock_guard lock(mutex_);
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
    found.mapped = true;
    if (found.coherent) coherent_count_.fetch_add(1);
    if (!session_->PostControl(wire::Control::kMemoryMapped, &mapping, sizeof(mapping)))
      return VK_ERROR_MEMORY_MAP_FAILED;
    shadow = found.tracker->shadow();
  } catch (const std::bad_alloc&) {
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  if (fetch && !Fetch(memory, offset, size)) return VK_ERROR_MEMORY_MAP_FAILED;
  if (WantsExchange()) session_->connection().StartPulse();
  *data = shadow + offset;
  return VK_SUCCESS;
}

VkResult MappedMemory::Import(const MemoryState& memory) noexcept {
  if (session_->lost()) return VK_ERROR_OUT_OF_DEVICE_MEMORY;
  try {
    auto tracker = MakeForeignTracker(memory.imported, memory.size);
    if (tracker == nullptr) return VK_ERROR_OUT_OF_HOST_MEMORY;
    const std::lock_guard lock(mutex_);
    Memory& made = Find(memory);
    made.tracker = std::move(tracker);
    made.size = memory.size;
    made.coherent = true;
    made.mapped = true;
    made.known.Add(0, memory.size);
    coherent_count_.fetch_add(1);
    const wire::MemoryMapping mapping{{memory.id, 0, memory.size}, 1};
    if (!session_->PostControl(wire::Control::kMemoryMapped, &mapping, sizeof(mapping)))
      return VK_ERROR_OUT_OF_DEVICE_MEMORY;
  } catch (const std::bad_alloc&) {
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  if (WantsExchange()) session_->connection().StartPulse();
  return VK_SUCCESS;
}

// With the mutex held: what the client has of the mapped range is what the server has, unless work is under way.
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
  if (session_->lost()) return;
  if (memory.coherent() && !memory.read_only) SendRange(memory, 0, memory.size);
  const std::lock_guard lock(mutex_);
  const auto found = memories_.find(memory.id);
  if (found == memories_.end() || !found->second.mapped) return;
  const wire::MemoryRange range{memory.id, found->second.offset, found->second.size};
  session_->PostControl(wire::Control::kMemoryUnmapped, &range, sizeof(range));
  NoteEqual(&found->second);
  EndMapping(&found->second);
}

void MappedMemory::Drop(const MemoryState& memory) noexcept {
  if (session_->abandoned()) return;  // the lock's holder may be a thread that this process does not have
  const std::lock_guard lock(mutex_);
  const auto found = memories_.find(memory.id);
  if (found == memories_.end()) return;
  EndMapping(&found->second);
  memories_.erase(found);
}

// --- from the application to the device ----------------------------------------------------------------------------------

bool MappedMemory::SendWrites() noexcept {
  if (coherent_count_.load() == 0) return true;
  if (session_->lost()) return false;
  const std::lock_guard lock(mutex_);
  try {
    for (auto& [id, memory] : memories_) {
      if (memory.mapped && memory.coherent && !Send(id, &memory, memory.offset, memory.size)) return false;
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
  const auto found = memories_.find(memory.id);
  if (found == memories_.end() || !found->second.mapped) return true;
  try {
    const Memory& mapped = found->second;
    const uint64_t begin = std::max(offset, mapped.offset);
    const uint64_t end = std::min(EndOf(memory, offset, size), mapped.offset + mapped.size);
    return begin >= end || Send(memory.id, &found->second, begin, end - begin);
  } catch (const std::bad_alloc&) {
    session_->connection().MarkLost("memory is exhausted while sending mapped memory");
    return false;
  }
}

// With the mutex held: puts the changed runs of a range into the batch, in records of bounded size.
bool MappedMemory::Send(ObjectId id, Memory* memory, uint64_t offset, uint64_t size) {
  bool begun = false;
  bool sent = true;
  memory->tracker->Collect(offset, size, [&](uint64_t at, std::span<const uint8_t> bytes) {
    if (!begun) writer_.Begin(id);
    begun = true;
    writer_.Add(at, bytes);
    Count(session_->statistics().dirty_bytes, bytes.size());
    if (writer_.size() < kRecordBytes) return;
    sent = SendRecord() && sent;
    begun = false;
  });
  return (!begun || SendRecord()) && sent;
}

bool MappedMemory::SendRecord() {
  return session_->connection().PostRecords(writer_.Finish()) == Connection::Posted::kOk;
}

// --- from the device to the application ----------------------------------------------------------------------------------

// What completed has come with its completion, coherent or not: were it not there, an application that overwrites it with
// what it last saw would seem to have written nothing.
bool MappedMemory::FetchRange(const MemoryState& memory, uint64_t offset, uint64_t size) noexcept {
  if (session_->lost()) return false;
  const uint64_t begin = std::min(offset, memory.size);
  const uint64_t end = EndOf(memory, offset, size);
  {
    const std::lock_guard lock(mutex_);
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
  if (!session_->AskControl(wire::Control::kMemoryFetch, &range, sizeof(range))) return false;
  const std::lock_guard lock(mutex_);
  const auto found = memories_.find(memory.id);
  try {
    if (found != memories_.end()) found->second.known.Add(offset, offset + size);
  } catch (const std::bad_alloc&) {  // it is fetched once more
  }
  return true;
}

void MappedMemory::Apply(ObjectId id, const wire::Run& run) noexcept {
  const std::lock_guard lock(mutex_);
  const auto found = memories_.find(id);
  if (found == memories_.end() || found->second.tracker == nullptr) return;
  Tracker& tracker = *found->second.tracker;
  if (run.offset > tracker.size() || run.extent > tracker.size() - run.offset) return;
  wire::ForEachPiece(run, [&](uint64_t offset, std::span<const uint8_t> bytes) {
    tracker.Apply(offset, bytes);
    Count(session_->statistics().received_bytes, bytes.size());
  });
  Count(session_->statistics().blocks_received);
}

}  // namespace vesper::client
