// Host-visible device memory of a session without shared memory: what the client wrote is applied
// to the driver's mapping, what the GPU wrote is found against a twin and sent as exact byte runs.
// The session's reader and the queues' watchers call it. docs/memory.md says how it fits together.
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
#include "runtime/range_set.h"
#include "runtime/wire/control.h"
#include "server/byte_runs.h"
#include "server/events.h"

namespace vesper::server {

// What the driver said of an allocation. The table outlives it.
struct HostMemory {
  const vk::DispatchTable* table = nullptr;
  VkDevice device = VK_NULL_HANDLE;
  VkDeviceMemory memory = VK_NULL_HANDLE;
  ObjectId id = kNullObject;
  uint64_t size = 0;
  bool flushed = false;  // the type is not coherent: flushed and invalidated here
  bool cached = true;    // reading it is cheap
  uint64_t atom = 1;     // nonCoherentAtomSize
};

// Bytes that the GPU wrote and that are sent after the others of the same scan.
struct LateBytes {
  ObjectId memory;
  uint64_t offset;
  std::vector<uint8_t> bytes;
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

  // A range is mapped from now on, or no longer; the device may write a range. Scan() looks at what
  // is both. False with a reason for a range outside the memory.
  bool AddRange(const wire::MemoryMapping& mapping, std::string* error);
  bool RemoveRange(const wire::MemoryRange& range, std::string* error);
  bool AddWritable(const wire::MemoryRange& range, std::string* error);
  // Applies runs as they lie on the wire to mapping and twin. False with a reason, having applied
  // those before the fault.
  bool Write(uint32_t count, std::span<const uint8_t> runs, std::string* error);

  // What becomes of small changes that stand alone, as the flags that programs poll do: they must
  // not reach the client before what was written ahead of them.
  enum class Small : uint8_t { kSend, kHold, kSkip };
  bool Watched();
  bool Mapped();  // at all
  // Sends what differs from the twin in the watched ranges and takes it over into the twin; kHold
  // puts what is small into `late` instead, kSkip leaves it to the next scan. Returns the number of
  // changed bytes.
  uint64_t Scan(Events* events, Small small, std::vector<LateBytes>* late);
  // The same for any range.
  bool Fetch(const wire::MemoryRange& range, Events* events, std::string* error);
  // Waits for calls in progress; those to come do nothing. The driver's memory may then be freed.
  void Retire();

 private:
  bool Map();  // the driver's mapping and the twin, on first need
  void Clear();
  bool Check(const wire::MemoryRange& range, const char* what, std::string* error) const;
  VkMappedMemoryRange Rounded(uint64_t offset, uint64_t size) const;
  uint64_t ScanRange(uint64_t offset, uint64_t size, Events* events, Small small, std::vector<LateBytes>* late);
  uint64_t ScanPiece(uint64_t offset, size_t size, Events* events, Small small, std::vector<LateBytes>* late);
  void SetSmallAside(uint64_t offset, Small small, std::vector<LateBytes>* late);

  const HostMemory memory_;
  std::mutex mutex_;
  bool retired_ = false;
  uint8_t* mapping_ = nullptr;
  uint8_t* twin_ = nullptr;
  std::vector<wire::MemoryRange> ranges_;
  RangeSet writable_;
  std::vector<uint8_t> snapshot_;
  std::vector<ByteRun> runs_;
};

// All host-visible memory of a session. Thread-safe.
class MemoryTable {
 public:
  explicit MemoryTable(Events* events) : events_(events) {}

  void Register(const HostMemory& memory);
  // Waits out scans; afterwards the driver's memory may be freed.
  void Unregister(ObjectId memory);
  void UnregisterAll(VkDevice device);

  // Sends the changes in all watched ranges of the device. `running`: the GPU may be writing.
  void Scan(VkDevice device, bool running);
  // Whether Scan() of that device has anything to look at.
  bool Watches(VkDevice device);
  uint64_t changed_bytes() const { return changed_bytes_; }
  uint64_t written_bytes() const { return written_bytes_; }
  uint64_t scans() const { return scans_; }

  // The controls of runtime/wire/control.h. False with a reason when the bytes are malformed;
  // memory that does not exist (any more) is ignored.
  bool Execute(wire::Control control, std::span<const uint8_t> body, std::string* error);

 private:
  std::shared_ptr<MappedMemory> Find(ObjectId id);
  std::vector<std::shared_ptr<MappedMemory>> MappedOf(VkDevice device);
  void NoteMapped(const std::shared_ptr<MappedMemory>& memory);

  Events* const events_;
  std::mutex scan_mutex_;  // one scan at a time, so that what it holds back is not overtaken
  std::mutex mutex_;
  std::unordered_map<ObjectId, std::shared_ptr<MappedMemory>> memories_;
  std::unordered_map<ObjectId, std::shared_ptr<MappedMemory>> mapped_;  // of them
  std::atomic<uint64_t> changed_bytes_ = 0;
  std::atomic<uint64_t> written_bytes_ = 0;
  std::atomic<uint64_t> scans_ = 0;
};

}  // namespace vesper::server
