// A device's host-visible memory as far as the client has it mapped, kept equal to the server's: what the application wrote
// is sent ahead of each trigger, and what the device wrote is applied before the completion that covers it is known.
#pragma once

#include <vulkan/vulkan.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "client/ids.h"
#include "client/memory/shared_memory.h"
#include "client/memory/tracker.h"
#include "runtime/wire/encoder.h"

namespace vesper::client {

class Session;

// One VkDeviceMemory.
struct MemoryState : ObjectState {
  using ObjectState::ObjectState;
  uint64_t size = 0;
  VkMemoryPropertyFlags properties = 0;
  SharedMapping shared;  // valid: the device's memory itself, and MappedMemory has nothing to do
  uint8_t* imported = nullptr;  // the application's own, mapped from its import until it is freed
};

class MappedMemory {
 public:
  explicit MappedMemory(Session* session) : session_(session) {}

  // Maps and fetches what the server's memory holds. Waits for it.
  VkResult Map(const MemoryState& memory, uint64_t offset, uint64_t size, void** data) noexcept;
  // Memory that is the application's own (memory.imported): kept equal to the server's, which begins as zeros, from now on.
  VkResult Import(const MemoryState& memory) noexcept;
  // Sends what was written, then ends the mapping. Memory that is not mapped is left alone.
  void Unmap(const MemoryState& memory) noexcept;
  // The memory is being freed: its copy goes too.
  void Drop(const MemoryState& memory) noexcept;

  // Sends what the application wrote to coherent mappings: ahead of every trigger. When this returns, everything that was
  // written before the call precedes the caller's next record, whichever thread found it.
  bool SendWrites() noexcept;
  // The same for one range, coherent or not.
  bool SendRange(const MemoryState& memory, uint64_t offset, uint64_t size) noexcept;
  // Fetches a range that is not coherent.
  bool FetchRange(const MemoryState& memory, uint64_t offset, uint64_t size) noexcept;

  // By the reader: bytes that the device wrote. Runs for memory that is not mapped are ignored.
  void Apply(ObjectId memory, uint64_t offset, std::span<const uint8_t> bytes) noexcept;

 private:
  // Made at the first map and kept until the memory is freed, as the server keeps its twin.
  struct Mapping {
    std::unique_ptr<Tracker> tracker;
    uint64_t offset = 0;
    uint64_t size = 0;
    bool coherent = false;
    bool mapped = false;
  };
  void EndMapping(Mapping* mapping) noexcept;
  bool Send(ObjectId memory, Mapping* mapping, uint64_t offset, uint64_t size);
  bool SendRecord() noexcept;

  Session* const session_;
  std::atomic<uint32_t> coherent_count_{0};
  std::mutex mutex_;  // held from finding changes until their records are in the batch; see SendWrites()
  std::unordered_map<ObjectId, Mapping> mappings_;
  wire::ByteBuffer record_;
  size_t record_mark_ = 0;
  uint32_t record_runs_ = 0;
};

}  // namespace vesper::client
