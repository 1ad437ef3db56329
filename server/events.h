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
#include "server/byte_runs.h"
#include "server/outbox.h"

namespace vesper::server {

// Builds event records and puts them into the outbox, in the order of the calls. Thread-safe. A
// client that is gone is no error here: the session's reader notices.
class Events {
 public:
  explicit Events(Outbox* outbox) : outbox_(outbox) {}

  void Completed(ObjectId queue, uint64_t serial);
  // Every device of the session for a null id.
  void DeviceLost(ObjectId device, std::string_view why);
  // `runs` are offsets in the memory object, their bytes at the same offsets less `base` in
  // `bytes`.
  void MemoryChanged(ObjectId memory, std::span<const ByteRun> runs, std::span<const uint8_t> bytes, uint64_t base);

 private:
  Outbox* const outbox_;
};

}  // namespace vesper::server
