// Small uploads whose fence is answered at once. A submit that only copies a little from memory that the host sees to memory
// that it does not see is carried out from a copy of these bytes, ahead of the queue's next submit: nothing that the program may do
// after the fence can be told from a copy that has ended, as long as all that comes later is ordered behind it.
// docs/architecture.md says what is.
#pragma once

#include <vulkan/vulkan.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "runtime/object_id.h"

namespace vesper::client {

// One region of a copy between buffers.
struct BufferCopy {
  ObjectId source = kNullObject;
  ObjectId target = kNullObject;
  uint64_t source_offset = 0;
  uint64_t target_offset = 0;
  uint64_t size = 0;
};

struct MemoryRange {
  ObjectId memory = kNullObject;
  uint64_t offset = 0;
  uint64_t size = 0;
};

// Whether a command buffer holds copies between buffers and barriers alone, and which. Owned by the command buffer. What is
// recorded beside these commands is noticed by the size of the records, so that it costs nothing where it is recorded.
class CopiesAlone {
 public:
  void Begin(size_t records, bool may) noexcept {
    copies_.clear();
    end_ = records;
    alone_ = may;
  }
  // Nothing else was recorded up to now.
  bool IsAlone(size_t records) const noexcept { return alone_ && records == end_; }
  // Such a command was recorded; the records end there now.
  void Note(size_t records) noexcept { end_ = records; }
  void Spoil() noexcept { alone_ = false; }
  // May throw std::bad_alloc.
  void Add(const BufferCopy& copy) { copies_.push_back(copy); }
  // Recording ended: what it holds is known.
  void End(size_t records) noexcept {
    alone_ = IsAlone(records) && !copies_.empty();
    ended_ = alone_;
  }
  void Reset() noexcept {
    alone_ = ended_ = false;
    copies_.clear();
  }
  bool ended_alone() const noexcept { return ended_; }
  const std::vector<BufferCopy>& copies() const noexcept { return copies_; }

 private:
  std::vector<BufferCopy> copies_;
  size_t end_ = 0;
  bool alone_ = false;
  bool ended_ = false;
};

// Uploads that a queue carries out: the next one's command buffer, and those that are under way. Owned by the queue; guarded by its
// submits' lock.
struct UploadCommands {
  enum class Suits : uint8_t { kUnknown, kNo, kYes };
  struct Slot {
    VkCommandBuffer commands = nullptr;
    uint64_t serial = 0;  // of the submit that used it last
  };
  Suits suits = Suits::kUnknown;  // whether the queue's family copies at all
  VkCommandPool pool = VK_NULL_HANDLE;
  std::array<Slot, 8> slots{};
  // What is recorded and not submitted: it goes ahead of the queue's next submit, or of what must not be overtaken.
  Slot* open = nullptr;
  std::vector<MemoryRange> written;  // by it, since its last barrier
  uint64_t bytes = 0;
};

}  // namespace vesper::client
