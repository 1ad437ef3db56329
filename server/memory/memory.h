// Host-visible device memory of a session without shared memory: what the client wrote is applied to the driver's mapping,
// what the GPU wrote is found against a twin and sent as exact byte runs. The session's reader and the queues' watchers call
// it. docs/memory.md says how it fits together.
#pragma once

#include <vulkan/vulkan.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "generated/vk/dispatch_table.h"
#include "runtime/mutex.h"
#include "runtime/object_id.h"
#include "runtime/wire/control.h"

namespace vesper::server {

class Events;

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
  bool foreign = false;  // others than this device's submits may write it: imported or exported
};

class MappedMemory;
class WriteLedger;

// All host-visible memory of a session, which owns it. Any thread. Of its locks scan_mutex_ is taken first, and then one
// memory's own or mutex_, never both.
class MemoryTable {
 public:
  explicit MemoryTable(Events* events);
  ~MemoryTable();
  MemoryTable(const MemoryTable&) = delete;
  MemoryTable& operator=(const MemoryTable&) = delete;

  void Register(const HostMemory& memory);
  // Waits out scans; afterwards the driver's memory may be freed.
  void Unregister(ObjectId id);
  void UnregisterAll(VkDevice device);

  // What the commands of the session let the device write (server/memory/write_ledger.h).
  WriteLedger& writes() { return *writes_; }

  // Sends the changes in all watched ranges that submits which live may write. `running`: the GPU may be writing.
  void Scan(VkDevice device, bool running);
  // Whether Scan() of that device has anything to look at.
  bool Watches(VkDevice device);
  uint64_t changed_bytes() const { return changed_bytes_; }
  uint64_t written_bytes() const { return written_bytes_; }
  uint64_t scans() const { return scans_; }
  uint64_t compared_bytes() const { return compared_bytes_; }
  // Only where scans are checked (VESPER_CHECK_WRITES=1): changes that no live submit was known to make.
  uint64_t missed_bytes() const { return missed_bytes_; }

  // The controls of runtime/wire/control.h. False with a reason when the bytes are malformed;
  // memory that does not exist (any more) is ignored.
  void Presented(const wire::PresentedFrame& frame);
  bool Execute(wire::Control control, std::span<const uint8_t> body, std::string* error);

 private:
  std::shared_ptr<MappedMemory> Find(ObjectId id);
  std::vector<std::shared_ptr<MappedMemory>> MappedOf(VkDevice device);
  void Check(VkDevice device, std::span<const std::shared_ptr<MappedMemory>> memories) VESPER_REQUIRES(scan_mutex_);
  void NoteMapped(const std::shared_ptr<MappedMemory>& memory);

  Events* const events_;
  Mutex scan_mutex_;  // one scan at a time, so that what it holds back is not overtaken
  Mutex mutex_;
  std::unordered_map<ObjectId, std::shared_ptr<MappedMemory>> memories_ VESPER_GUARDED_BY(mutex_);
  std::unordered_map<ObjectId, std::shared_ptr<MappedMemory>> mapped_
      VESPER_GUARDED_BY(mutex_);  // those that are mapped
  std::atomic<uint64_t> changed_bytes_ = 0;
  std::atomic<uint64_t> written_bytes_ = 0;
  std::atomic<uint64_t> scans_ = 0;
  std::atomic<uint64_t> compared_bytes_ = 0;
  std::atomic<uint64_t> missed_bytes_ = 0;
  const std::unique_ptr<WriteLedger> writes_;
  const bool checks_;
};

}  // namespace vesper::server
