// What the server says unasked: completions, memory that the GPU wrote, losses, creations that
// ended. Used by the queues, the pool and the memory module of a session.
#pragma once

#include <vulkan/vulkan.h>

#include <cstdint>
#include <span>
#include <string_view>

#include "runtime/object_id.h"
#include "runtime/wire/control.h"
#include "runtime/wire/encoder.h"
#include "server/channel/outbox.h"

namespace vesper::wire {
struct Changes;
}

namespace vesper::server {

// Builds event records and puts them into the outbox, in the order of the calls. Thread-safe. A
// client that is gone is no error here: the session's reader notices.
class Events {
 public:
  explicit Events(Outbox* outbox) : outbox_(outbox) {}

  void Completed(ObjectId queue, uint64_t serial);
  // That many marks were come to, and what commands cost now.
  void Progress(uint64_t marks, std::span<const wire::CommandCost> changed);
  void Made(ObjectId object, VkResult result);
  void MemoryCredit(const wire::MemoryCredit& credit);
  // Every device of the session for a null id.
  void DeviceLost(ObjectId device, std::string_view why);
  void MemoryChanged(ObjectId memory, const wire::Changes& changes);
  // A part of a picture of that memory.
  void Picture(const wire::PictureTile& tile, std::span<const uint8_t> jpeg);
  // All bytes of `rows` rows, `stride` bytes one after the other.
  void MemoryRows(ObjectId memory, uint64_t offset, size_t stride, std::span<const uint8_t> first, uint32_t rows);
  // Before much of it is looked for, with no lock of the memory held: see Outbox::AwaitRoom().
  void AwaitRoom() { outbox_->AwaitRoom(); }
  size_t Piece(size_t most) const { return outbox_->Piece(most); }
  // Around what the session's reader does that may have to wait for such a search.
  void BeginHurry() { outbox_->BeginHurry(); }
  void EndHurry() { outbox_->EndHurry(); }

 private:
  Outbox* const outbox_;
};

}  // namespace vesper::server
