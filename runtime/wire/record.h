// How commands and events lie in a message: records, back to back, each 8-byte aligned and skippable by its length.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "runtime/wire/encoder.h"
#include "runtime/wire/limits.h"

namespace vesper::wire {

// Record flags.
inline constexpr uint16_t kWantsReply = 1;  // the sender waits for a Reply message with this record's sequence number

struct RecordHeader {
  uint16_t command = 0;  // a Command, a Control (client → server) or an EventKind (in event messages)
  uint16_t flags = 0;
  uint32_t length = 0;  // of the body, without the padding to 8 bytes that follows it
};
static_assert(sizeof(RecordHeader) == 8);

// Starts a record at the end of `out`; the body is appended next. Returns the mark for EndRecord.
size_t BeginRecord(ByteBuffer* out, uint16_t command, uint16_t flags);
// Pads the record that started at `mark` and writes its length. False (and the record is removed) when it is too long.
bool EndRecord(ByteBuffer* out, size_t mark);

// Takes the first record off `bytes`. False when `bytes` holds no whole record; then it is left as it is.
inline bool NextRecord(std::span<const uint8_t>* bytes, RecordHeader* header, std::span<const uint8_t>* body) {
  if (bytes->size() < sizeof(RecordHeader)) return false;
  std::memcpy(header, bytes->data(), sizeof(RecordHeader));
  const size_t padded = (size_t{header->length} + 7) / 8 * 8;
  if (header->length > kMaxRecordBytes || bytes->size() - sizeof(RecordHeader) < padded) return false;
  *body = bytes->subspan(sizeof(RecordHeader), header->length);
  *bytes = bytes->subspan(sizeof(RecordHeader) + padded);
  return true;
}

// The first bytes of every Reply message's payload; the command's encoded reply follows when kind is kAnswer.
enum class ReplyKind : uint32_t {
  kAnswer = 0,  // executed: the encoded reply follows
  kInert = 1,   // not executed, since an object it takes is stale or failed: `result` says what to return
  kRefused = 2  // not executed: unknown or not offered
};
struct ReplyHeader {
  ReplyKind kind = ReplyKind::kAnswer;
  int32_t result = 0;
};
static_assert(sizeof(ReplyHeader) == 8);

}  // namespace vesper::wire
