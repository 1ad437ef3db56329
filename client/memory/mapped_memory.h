// A device's host-visible memory as far as the client has it mapped, kept equal to the server's: what the application wrote
// is sent ahead of each trigger, and what the device wrote is applied before the completion that covers it is known.
// docs/memory.md says how it fits together.
#pragma once

#include <vulkan/vulkan.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <span>

#include "client/base/fair_mutex.h"
#include "client/base/ids.h"
#include "client/base/limits.h"
#include "client/connection/remote_value.h"
#include "client/memory/link.h"
#include "client/memory/shared_memory.h"
#include "client/tracking/tracker.h"
#include "runtime/mutex.h"
#include "runtime/range_set.h"
#include "runtime/wire/control.h"
#include "runtime/wire/memory_runs.h"

namespace vesper::client {

// One VkDeviceMemory.
struct MemoryState : ObjectState {
  using ObjectState::ObjectState;
  bool visible() const { return (properties & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) != 0; }
  bool coherent() const { return (properties & VK_MEMORY_PROPERTY_HOST_COHERENT_BIT) != 0; }
  uint64_t size = 0;
  VkMemoryPropertyFlags properties = 0;
  SharedMapping shared;         // if valid, the device's own memory: MappedMemory has nothing to do then
  uint8_t* imported = nullptr;  // the application's own, mapped from its import until it is freed
  bool read_only = false;       // the client never writes it: mapped, it is never searched for what was written
  bool foreign = false;         // others than this device's work may write it, or have: imported or exported
  uint64_t allocated_at = 0;    // MappedMemory::submitted() when it was made
  uint32_t heap = 0;
  uint64_t on_credit = 0;  // its number among what was allocated of the heap without asking; 0: it was not
};

// One VkBuffer, as far as memory bound to it is concerned.
struct BufferState : ObjectState {
  using ObjectState::ObjectState;
  uint64_t size = 0;
  ObjectId memory = kNullObject;  // bound to it, as far as that is known
  uint64_t offset = 0;            // in that memory
  bool writable = true;           // by the device
  bool addressed = false;         // it has an address once memory is bound
  RemoteValue address;
  RemoteValue captured;  // its opaque capture address
};

// Owned by the device. Any thread, but for calls that Vulkan has the application synchronize, such as two that map the same
// memory. mutex_ guards what changes and is not atomic.
class MappedMemory {
 public:
  explicit MappedMemory(MemoryLink* link) : link_(link) {}

  // Maps. Waits for the server when the device may have written the range since the client knew what it holds.
  VkResult Map(const MemoryState& memory, uint64_t offset, uint64_t size, void** data) noexcept;
  // Memory that is the application's own (memory.imported): kept equal to the server's, which begins as zeros, from now on.
  VkResult Import(const MemoryState& memory) noexcept;
  // Sends what was written, then ends the mapping. Memory that is not mapped is left alone.
  void Unmap(const MemoryState& memory) noexcept;
  // The memory is being freed, and the client's copy with it. Writes that were not sent are dropped: nobody can read them.
  void Drop(const MemoryState& memory) noexcept;

  // Sends what the application wrote to coherent mappings: ahead of every trigger. When this returns, everything that was
  // written before the call precedes the caller's next record, whichever thread found it.
  bool SendWrites() noexcept;
  // Sends what the application wrote to one range, coherent or not.
  bool SendRange(const MemoryState& memory, uint64_t offset, uint64_t size) noexcept;
  // Fetches a range that is not coherent if work that may write it is under way; what completed before is there already.
  bool FetchRange(const MemoryState& memory, uint64_t offset, uint64_t size) noexcept;

  // What the application reads there, of a mapped range; nullptr where that is not mapped.
  const uint8_t* Content(const MemoryState& memory, uint64_t offset, uint64_t size) noexcept;

  // The device may write that range from now on: it is in something bound there. Ahead of the record that binds it.
  void NoteWritable(const MemoryState& memory, uint64_t offset, uint64_t size) noexcept;
  // The device may write all memory, present and future: something was bound in a way that this library does not follow.
  void NoteAllWritable() noexcept;

  // A submit of the device was made / has completed. Memory against which nothing was submitted has not changed.
  void NoteSubmitted() noexcept { submitted_.fetch_add(1); }
  void NoteCompleted(uint64_t submits) noexcept { completed_.fetch_add(submits); }
  uint64_t submitted() const noexcept { return submitted_.load(); }
  // Whether coherent memory is mapped while work is outstanding: then both sides exchange what they wrote now and then, for
  // programs that poll.
  bool WantsExchange() const noexcept { return coherent_count_.load() != 0 && submitted_.load() != completed_.load(); }

  // By the reader: bytes that the device wrote. Runs for memory that is not mapped are ignored.
  void Apply(ObjectId id, std::span<wire::Run> runs) noexcept;

 private:
  // Made at the first bind or map and kept until the memory is freed, as the server keeps its twin.
  struct Memory {
    std::unique_ptr<Tracker> tracker;  // from the first map on
    uint64_t offset = 0;               // what is mapped
    uint64_t size = 0;
    bool coherent = false;
    bool pictures = false;  // of windows: the client never writes it
    bool mapped = false;
    RangeSet writable;  // by the device
    RangeSet known;     // where the client's copy was equal to the server's once
    // The last mapped range is still equal if nothing was submitted since.
    uint64_t equal_begin = 0;
    uint64_t equal_end = 0;
    uint64_t equal_at = 0;
    bool MayDiffer(uint64_t begin, uint64_t end, uint64_t submitted) const;
  };
  // May throw std::bad_alloc.
  Memory& Find(const MemoryState& memory) VESPER_REQUIRES(mutex_);
  bool AddWritable(ObjectId id, Memory* memory, uint64_t begin, uint64_t end) VESPER_REQUIRES(mutex_);
  // What the client has of the mapped range is what the server has, unless work is under way.
  void NoteEqual(Memory* memory) noexcept VESPER_REQUIRES(mutex_);
  void EndMapping(Memory* memory) noexcept VESPER_REQUIRES(mutex_);
  bool Fetch(const MemoryState& memory, uint64_t offset, uint64_t size) noexcept;
  // Where a walk over memory stands: much is sent in slices, between which others get the mutex.
  struct Cursor {
    ObjectId memory = 0;
    uint64_t offset = 0;
    uint64_t slice = limits::kDenseSliceBytes;  // how much to search next
    uint64_t trigger = 0;
    bool done = false;
  };
  // Calls step(cursor) with the mutex held until the cursor is done, having waited, without the mutex, for room before each.
  // The analysis does not see that the mutex which `step` asks for is this object's.
  template <typename Step>
  bool InSlices(Step step) noexcept VESPER_NOT_ANALYSED;
  // The next slice of what is mapped and coherent.
  bool SendSlice(Cursor* at) VESPER_REQUIRES(mutex_);
  // How much to search next after that much.
  uint64_t NextSlice(uint64_t slice, uint64_t searched, uint64_t posted) const noexcept;
  // Puts the changed runs of a range into the batch, in records of bounded size.
  bool Send(ObjectId id, Memory* memory, uint64_t offset, uint64_t size, uint64_t trigger) VESPER_REQUIRES(mutex_);
  // From now on exactly what changed, where the device will write, too.
  bool Settle(ObjectId id, Memory* memory, uint64_t begin, uint64_t end) VESPER_REQUIRES(mutex_);
  // Calls search(sink) and posts what the sink gets.
  template <typename Searching>
  bool PostFound(ObjectId id, Searching search) VESPER_REQUIRES(mutex_);
  // How much to search at once where much changes.
  uint64_t DenseSlice() const noexcept;

  MemoryLink* const link_;
  std::atomic<uint32_t> coherent_count_{0};
  std::atomic<uint64_t> submitted_{0};
  std::atomic<uint64_t> completed_{0};
  std::atomic<uint64_t> triggers_{0};
  // Held from finding a slice's changes until their records are in the batch, see SendWrites(); never while waiting for the
  // peer, since the connection's reader takes it to apply what the device wrote.
  FairMutex mutex_;
  std::map<ObjectId, Memory> memories_ VESPER_GUARDED_BY(mutex_);
  bool all_writable_ VESPER_GUARDED_BY(mutex_) = false;
  uint64_t posted_ VESPER_GUARDED_BY(mutex_) = 0;  // bytes of records, ever
  wire::RunWriter writer_ VESPER_GUARDED_BY(mutex_){static_cast<uint16_t>(wire::Control::kMemoryWrite)};
};

}  // namespace vesper::client
