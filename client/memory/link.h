// What mapped memory needs of the session that it belongs to: to send, to ask, and to know whether there is anybody to
// send to. The session implements it; memory knows nothing else of sessions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "client/base/statistics.h"
#include "runtime/object_id.h"
#include "runtime/wire/control.h"
#include "runtime/wire/encoder.h"

namespace vesper::client {

struct MemoryState;

// Thread-safe.
class MemoryLink {
 public:
  virtual bool lost() const noexcept = 0;
  virtual bool abandoned() const noexcept = 0;  // by a fork: take no lock
  // Ends the session. No lock may be held but those of the memory.
  virtual void MarkLost(std::string_view why) noexcept = 0;
  // Waits while more was posted than the line takes at once; without any lock. False when the session is lost.
  virtual bool AwaitBulkRoom() noexcept = 0;
  // Bytes a second that the line takes; 0 while nobody has had to wait for it.
  virtual uint64_t line_rate() const noexcept = 0;
  // A control record that nobody waits for; one that is answered, true when the answer has come; runs of memory, whose buffer
  // may be exchanged for another.
  virtual bool PostControl(wire::Control control, const void* body, size_t size) noexcept = 0;
  virtual bool AskControl(wire::Control control, const void* body, size_t size) noexcept = 0;
  virtual bool PostMemory(wire::ByteBuffer* records) noexcept = 0;
  // Memory is exchanged now and then from now on, for programs that poll.
  virtual void StartPulse() noexcept = 0;
  // nullptr when there is none of that id.
  virtual const MemoryState* FindMemory(ObjectId id) const noexcept = 0;
  virtual Statistics& statistics() noexcept = 0;

 protected:
  ~MemoryLink() = default;
};

}  // namespace vesper::client
