// Commands of the Venus protocol as records of the session, and the session's replies as the protocol's: both through the
// arguments (wire::…Args) that each side's codec knows. What the driver expects of a renderer and no Vulkan driver does is here.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "runtime/descriptor.h"
#include "server/venus/ids.h"
#include "server/venus/resources.h"
#include "server/venus/stream.h"
#include "server/venus/walker.h"

namespace vesper::venus {

// Not thread-safe: the front end's lock guards it.
class Translator {
 public:
  Translator(uint32_t max_objects, Resources* resources) : ids_(max_objects), resources_(resources) {}

  // Reads the parameters of a command and appends its record to `batch`. With stream->hold kReply afterwards the record asks for a
  // reply, and stream->pending says what for. False with a reason when the bytes are malformed.
  bool Translate(Stream* stream, const CommandTable& command, bool wants_reply, Reader* reader, wire::ByteBuffer* batch,
                 std::string* error);

  // The session's reply to stream->pending. Afterwards the stream is held no more, or is to ask again (kRetry). False with a reason
  // when the reply does not fit where the peer wants it.
  bool Finish(Stream* stream, std::span<const uint8_t> payload, MemoryName memory, std::string* error);

  // What Finish() wrote last.
  std::span<const uint8_t> last_reply() const { return {reply_.data(), reply_.size()}; }

  // What is read by hand.
  Objects* objects() { return &ids_; }

 private:
  static void Prepare(Pending* pending);
  static void BeginWithSomething(const Pending& pending, wire::ByteBuffer* batch);
  void NoteObjects(const Pending& pending);
  static void TakeReply(const Pending& pending, std::span<const uint8_t> payload);
  void Complete(const Pending& pending, MemoryName memory);
  static bool WriteOut(Stream* stream, const wire::ByteBuffer& reply, std::string* error);

  Ids ids_;
  Resources* const resources_;
  wire::ByteBuffer reply_;
  bool on_cpu_ = false;  // a device of the session is one
};

}  // namespace vesper::venus
