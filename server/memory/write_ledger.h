// What the device's work may write, known from the commands that a session executes, so that after a submit only that is
// compared. Every doubt widens: what is not followed makes a submit one that may write everything (docs/memory.md).
#pragma once

#include <vulkan/vulkan.h>

#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "runtime/mutex.h"
#include "runtime/range_set.h"

namespace vesper::server {

struct DeviceWrites;

// Ranges of memory objects.
struct WriteSet {
  void Add(VkDeviceMemory memory, uint64_t begin, uint64_t end);
  void Merge(const WriteSet& other);
  bool everything = false;
  std::unordered_map<VkDeviceMemory, RangeSet> ranges;
};

// Thread-safe; no other lock is taken under its own. Handles are the driver's.
class WriteLedger {
 public:
  // A ledger that is not `kept` notes nothing, returns null pointers, and says of every submit that it may write everything.
  explicit WriteLedger(bool kept = true);
  bool kept() const { return kept_; }
  ~WriteLedger();
  WriteLedger(const WriteLedger&) = delete;
  WriteLedger& operator=(const WriteLedger&) = delete;

  // A command was executed: `args` are its wire::…Args, with what it made.
  void Note(VkDevice device, uint16_t command, const void* args);
  // Command buffers are about to be submitted: what they may write, with the contents that descriptor sets have now. It counts
  // for as long as the pointer lives, which is until what was written has been sent.
  std::shared_ptr<const void> Submitted(VkDevice device, std::span<const VkCommandBuffer> buffers);
  // The same for work that may write whatever there is.
  std::shared_ptr<const void> Unknown(VkDevice device);
  // The union of the sets whose pointers live.
  WriteSet Live(VkDevice device);
  void Forget(VkDevice device);

 private:
  std::shared_ptr<const void> Keep(VkDevice device, std::shared_ptr<const WriteSet> set) VESPER_REQUIRES(mutex_);
  DeviceWrites& Of(VkDevice device) VESPER_REQUIRES(mutex_);

  const bool kept_;
  Mutex mutex_;
  std::unordered_map<VkDevice, std::unique_ptr<DeviceWrites>> devices_ VESPER_GUARDED_BY(mutex_);
};

}  // namespace vesper::server
