// A device's host-visible memory as far as the client has it mapped, kept equal to the server's: what the application wrote
// is sent ahead of each trigger, and what the device wrote is applied before the completion that covers it is known.
// docs/memory.md says how it fits together.
#pragma once

#include <vulkan/vulkan.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "client/ids.h"
#include "client/memory/shared_memory.h"
#include "client/memory/tracker.h"
#include "runtime/range_set.h"
#include "runtime/wire/control.h"
#include "runtime/wire/memory_runs.h"

namespace vesper::client {

class Session;

// One VkDeviceMemory.
struct MemoryState : ObjectState {
  using ObjectState::ObjectState;
  bool visible() const { return (properties & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) != 0; }
  bool coherent() const { return (properties & VK_MEMORY_PROPERTY_HOST_COHERENT_BIT) != 0; }
  uint64_t size = 0;
  VkMemoryPropertyFlags properties = 0;
  SharedMapping shared;         // valid: the device's memory itself, and MappedMemory has nothing to do
  uint8_t* imported = nullptr;  // the application's own, mapped from its import until it is freed
  bool read_only = false;       // the client never writes it: mapped, it is never searched for what was written
  bool foreign = false;         // others than this device's work may write it, or have: imported or exported
  uint64_t allocated_at = 0;    // MappedMemory::submitted() when it was made
};

// One VkBuffer, as far as memory bound to it is concerned.
struct BufferState : ObjectState {
  using ObjectState::ObjectState;
  uint64_t size = 0;
  bool writable = true;  // by the device
};

// Thread-safe, but for what Vulkan has the application synchronize.
class MappedMemory {
 public:
  explicit MappedMemory(Session* session) : session_(session) {}

  // Maps. Waits for the server when the device may have written the range since the client knew what it holds.
  VkResult Map(const MemoryState& memory, uint64_t offset, uint64_t size, void** data) noexcept;
  // Memory that is the application's own (memory.imported): kept equal to the server's, which begins as zeros, from now on.
  VkResult Import(const MemoryState& memory) noexcept;
  // Sends what was written, then ends the mapping. Memory that is not mapped is left alone.
  void Unmap(const MemoryState& memory) noexcept;
  // The memory is being freed: its copy goes too. What was written and not sent can have no reader any more.
  void Drop(const MemoryState& memory) noexcept;

  // Sends what the application wrote to coherent mappings: ahead of every trigger. When this returns, everything that was
  // written before the call precedes the caller's next record, whichever thread found it.
  bool SendWrites() noexcept;
  // The same for one range, coherent or not.
  bool SendRange(const MemoryState& memory, uint64_t offset, uint64_t size) noexcept;
  // Fetches a range that is not coherent if work that may write it is under way; what completed before is there already.
  bool FetchRange(const MemoryState& memory, uint64_t offset, uint64_t size) noexcept;

  // The device may write that range from now on: it is in something bound there. Ahead of the record that binds it.
  void NoteWritable(const MemoryState& memory, uint64_t offset, uint64_t size) noexcept;
  // The same for all memory there is and will be: something was bound in a way that this library does not follow.
  void NoteAllWritable() noexcept;

  // Submits of the device, made and completed: memory that nothing was submitted against holds what it held.
  void NoteSubmitted() noexcept { submitted_.fetch_add(1); }
  void NoteCompleted(uint64_t submits) noexcept { completed_.fetch_add(submits); }
  uint64_t submitted() const noexcept { return submitted_.load(); }
  // Whether coherent memory is mapped while work is outstanding: then both sides exchange what they wrote now and then, for
  // programs that poll.
  bool WantsExchange() const noexcept { return coherent_count_.load() != 0 && submitted_.load() != completed_.load(); }

  // By the reader: bytes that the device wrote. Runs for memory that is not mapped are ignored.
  void Apply(ObjectId memory, const wire::Run& run) noexcept;

 private:
  // Made at the first bind or map and kept until the memory is freed, as the server keeps its twin.
  struct Memory {
    std::unique_ptr<Tracker> tracker;  // from the first map on
    uint64_t offset = 0;               // what is mapped
    uint64_t size = 0;
    bool coherent = false;
    bool mapped = false;
    RangeSet writable;  // by the device
    RangeSet known;     // where the client's copy was equal to the server's once
    // The last mapped range is still equal if nothing was submitted since.
    uint64_t equal_begin = 0;
    uint64_t equal_end = 0;
    uint64_t equal_at = 0;
    bool MayDiffer(uint64_t begin, uint64_t end, uint64_t submitted) const;
  };
  Memory& Find(const MemoryState& memory);
  bool AddWritable(ObjectId id, Memory* memory, uint64_t begin, uint64_t end);
  void NoteEqual(Memory* memory) noexcept;
  void EndMapping(Memory* memory) noexcept;
  bool Fetch(const MemoryState& memory, uint64_t offset, uint64_t size) noexcept;
  bool Send(ObjectId id, Memory* memory, uint64_t offset, uint64_t size);
  bool SendRecord();

  Session* const session_;
  std::atomic<uint32_t> coherent_count_{0};
  std::atomic<uint64_t> submitted_{0};
  std::atomic<uint64_t> completed_{0};
  std::mutex mutex_;  // held from finding changes until their records are in the batch; see SendWrites()
  std::unordered_map<ObjectId, Memory> memories_;
  bool all_writable_ = false;
  wire::RunWriter writer_{static_cast<uint16_t>(wire::Control::kMemoryWrite)};
};

}  // namespace vesper::client
