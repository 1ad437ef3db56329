// Host-visible device memory of a session without shared memory: what the client wrote is applied
// to the driver's mapping, what the GPU wrote is found against a twin and sent as exact byte runs.
// The session's reader and the queues' watchers call it. How changes are found is this file's
// secret; finer ways come behind the same calls.
#pragma once

#include <vulkan/vulkan.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "generated/vk/dispatch_table.h"
#include "runtime/object_id.h"
#include "runtime/wire/control.h"
#include "server/events.h"

namespace vesper::server {

// What the driver said of an allocation. The table outlives it.
struct HostMemory {
  const vk::DispatchTable* table = nullptr;
  VkDevice device = VK_NULL_HANDLE;
  VkDeviceMemory memory = VK_NULL_HANDLE;
  ObjectId id = kNullObject;
  uint64_t size = 0;
  bool coherent = true;
  uint64_t atom = 1;  // nonCoherentAtomSize
};

// One allocation. The twin holds the bytes as the client knows them and starts as zeros, as does
// the client's copy; it lives as long as the memory, over unmapping. Thread-safe; calls are short
// (a scan gives the lock up between pieces).
class MappedMemory {
 public:
  explicit MappedMemory(const HostMemory& memory) : memory_(memory) {}
  ~MappedMemory();
  MappedMemory(const MappedMemory&) = delete;
  MappedMemory& operator=(const MappedMemory&) = delete;

  const HostMemory& memory() const { return memory_; }

  // From now on Scan() looks at this range, or no longer. False with a reason for a range outside
  // the memory.
  bool AddRange(const wire::MemoryRange& range, std::string* error);
  bool RemoveRange(const wire::MemoryRange& range, std::string* error);
  // For memory that stands for the application's own: zeros, as in the twin, and watched as a whole. False when it cannot
  // be mapped.
  bool BeginImport();
  // Applies runs as they lie on the wire to mapping and twin. False with a reason, having applied
  // those before the fault.
  bool Write(uint32_t count, std::span<const uint8_t> runs, std::string* error);
  // Sends what differs from the twin in the mapped ranges, or in `range` whether mapped or not, and
  // updates the twin. Returns the number of changed bytes.
  uint64_t Scan(Events* events);
  bool Fetch(const wire::MemoryRange& range, Events* events, std::string* error);
  // Waits for calls in progress; those to come do nothing. The driver's memory may then be freed.
  void Retire();

 private:
  bool Map();  // the driver's mapping and the twin, on first need
  bool InBounds(uint64_t offset, uint64_t size) const;
  VkMappedMemoryRange Rounded(uint64_t offset, uint64_t size) const;
  uint64_t ScanRange(uint64_t offset, uint64_t size, Events* events);
  uint64_t ScanPiece(uint64_t offset, size_t size, Events* events);

  const HostMemory memory_;
  std::mutex mutex_;
  bool retired_ = false;
  uint8_t* mapping_ = nullptr;
  uint8_t* twin_ = nullptr;
  std::vector<wire::MemoryRange> ranges_;
  std::vector<uint8_t> snapshot_;
  std::vector<ByteRun> runs_;
};

// All host-visible memory of a session. Thread-safe.
class MemoryTable {
 public:
  explicit MemoryTable(Events* events) : events_(events) {}

  void Register(const HostMemory& memory);
  // Registers memory that stands for the application's own (VK_EXT_external_memory_host), whose bytes the client sends.
  // False when it cannot be mapped; nothing is registered then.
  bool RegisterImport(const HostMemory& memory);
  // Waits out scans; afterwards the driver's memory may be freed.
  void Unregister(ObjectId memory);
  void UnregisterAll(VkDevice device);

  // Sends the changes in all mapped ranges of the device.
  void Scan(VkDevice device);
  uint64_t changed_bytes() const { return changed_bytes_; }
  uint64_t written_bytes() const { return written_bytes_; }

  // The controls of runtime/wire/control.h. False with a reason when the bytes are malformed;
  // memory that does not exist (any more) is ignored.
  bool Execute(wire::Control control, std::span<const uint8_t> body, std::string* error);

 private:
  std::shared_ptr<MappedMemory> Find(ObjectId id);
  std::vector<std::shared_ptr<MappedMemory>> OfDevice(VkDevice device);

  Events* const events_;
  std::mutex mutex_;
  std::unordered_map<ObjectId, std::shared_ptr<MappedMemory>> memories_;
  std::atomic<uint64_t> changed_bytes_ = 0;
  std::atomic<uint64_t> written_bytes_ = 0;
};

}  // namespace vesper::server
