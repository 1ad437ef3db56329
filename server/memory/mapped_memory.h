// One allocation of mapped memory as the server has it: the driver's mapping, the twin that holds what the client knows, and
// what is looked at for changes. MemoryTable calls it.
#pragma once

#include <vulkan/vulkan.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/mutex.h"
#include "runtime/range_set.h"
#include "runtime/wire/changes.h"
#include "runtime/wire/control.h"
#include "server/channel/events.h"
#include "server/memory/memory.h"
#include "server/memory/write_ledger.h"
#include "server/pictures/near_pictures.h"

namespace vesper::server {

// Bytes that the GPU wrote and that are sent after the others of the same scan: changes in one line of memory or two.
struct LateBytes {
  wire::Changes Changes() const { return {offset, {bytes.data(), size}, mask.data()}; }
  ObjectId memory;
  uint64_t offset;
  size_t size;
  std::array<uint8_t, 2 * wire::kLine> bytes;
  std::array<uint64_t, 2> mask;
};

// One allocation. The twin holds the bytes as the client knows them and starts as zeros, as does the client's copy. Memory that
// only the client writes has none before somebody else may: it is its own twin until then. It lives as
// long as the memory, over unmapping. Owned by the table and by scans under way. Any thread; mutex_ guards all that changes and
// is held for short times: a scan gives it up between pieces.
class MappedMemory {
 public:
  // What is not cached is never read where that can be helped.
  explicit MappedMemory(const HostMemory& memory)
      : memory_(memory), needs_twin_(memory.foreign || memory.flushed || !memory.cached) {}
  ~MappedMemory();
  MappedMemory(const MappedMemory&) = delete;
  MappedMemory& operator=(const MappedMemory&) = delete;

  const HostMemory& memory() const { return memory_; }

  // A range is mapped from now on, or no longer; the device may write a range. Scan() looks at what
  // is both. False with a reason for a range outside the memory.
  bool AddRange(const wire::MemoryMapping& mapping, std::string* error);
  bool RemoveRange(const wire::MemoryRange& range, std::string* error);
  bool AddWritable(const wire::MemoryRange& range, std::string* error);
  // The memory holds pictures: scans send what changed of them nearly as it is, and exactly when it stands still.
  bool HoldPictures(const wire::PictureMemory& pictures, std::string* error);
  void PicturePresented(uint64_t offset);
  // Applies runs as they lie on the wire to mapping and twin. False with a reason, having applied
  // those before the fault.
  bool Write(uint32_t count, std::span<const uint8_t> runs, std::string* error);

  // What becomes of small changes that stand alone, as the flags that programs poll do: they must
  // not reach the client before what was written ahead of them.
  enum class Small : uint8_t { kSend, kHold };
  bool Watched();
  bool Mapped();  // at all
  // For who compares everything to find writes that were not expected: false when a range was mapped since the last call, whose
  // older changes the client fetches and no scan has sent.
  bool Followed();
  // How a scan looks. `late` is for kHold; `changed`, where given, gets the lines that changed.
  struct Look {
    Small small = Small::kSend;
    std::vector<LateBytes>* late = nullptr;
    RangeSet* changed = nullptr;
  };
  // Sends what differs from the twin in the watched ranges as far as `set` has them, or in all of memory that others may write,
  // and takes it over into the twin; kHold puts what is small into `late` instead. Returns
  // how many bytes were compared, and in `found` how many had changed.
  uint64_t Scan(Events* events, const WriteSet& set, const Look& look, uint64_t* found);
  // The same for any range.
  bool Fetch(const wire::MemoryRange& range, Events* events, std::string* error);
  // Waits for calls in progress; those to come do nothing. The driver's memory may then be freed.
  void Retire();

 private:
  bool Map() VESPER_REQUIRES(mutex_);  // the driver's mapping, on first need, and the twin where it is needed
  // From now on what the client knows differs from what is there. Throws std::bad_alloc.
  void NeedTwin() VESPER_REQUIRES(mutex_);
  bool MakeTwin() VESPER_REQUIRES(mutex_);
  void Clear() VESPER_REQUIRES(mutex_);
  bool Check(const wire::MemoryRange& range, const char* what, std::string* error) const;
  VkMappedMemoryRange Rounded(uint64_t offset, uint64_t size) const;
  uint64_t ScanRange(uint64_t offset, uint64_t size, Events* events, const Look& look);
  uint64_t ScanPictures(const RangeSet& watched, Events* events);
  uint64_t ScanPiece(uint64_t offset, size_t size, Events* events, const Look& look) VESPER_REQUIRES(mutex_);
  // These return how many changed bytes that were.
  size_t SetSmallAside(const wire::Changes& found, std::vector<LateBytes>* late) VESPER_REQUIRES(mutex_);
  size_t SetAside(const wire::Changes& found, size_t first_line, size_t lines, std::vector<LateBytes>* late)
      VESPER_REQUIRES(mutex_);

  const HostMemory memory_;
  Mutex mutex_;
  bool retired_ VESPER_GUARDED_BY(mutex_) = false;
  uint8_t* mapping_ VESPER_GUARDED_BY(mutex_) = nullptr;
  uint8_t* twin_ VESPER_GUARDED_BY(mutex_) = nullptr;
  bool needs_twin_ VESPER_GUARDED_BY(mutex_);
  std::vector<wire::MemoryRange> ranges_ VESPER_GUARDED_BY(mutex_);  // mapped
  RangeSet writable_ VESPER_GUARDED_BY(mutex_);
  bool followed_ VESPER_GUARDED_BY(mutex_) = false;
  std::shared_ptr<NearPictures> pictures_ VESPER_GUARDED_BY(mutex_);
  // The piece that is compared: its bytes as they were read, and which of them differ.
  std::vector<uint8_t> snapshot_ VESPER_GUARDED_BY(mutex_);
  std::vector<uint64_t> mask_ VESPER_GUARDED_BY(mutex_);
};

}  // namespace vesper::server
