#include "runtime/wire/record.h"

#include "runtime/wire/limits.h"

namespace vesper::wire {

size_t BeginRecord(ByteBuffer* out, uint16_t command, uint16_t flags) {
  const size_t mark = out->size();
  Store(out->Append(sizeof(RecordHeader)), RecordHeader{command, flags, 0});
  return mark;
}

bool EndRecord(ByteBuffer* out, size_t mark) {
  const size_t length = out->size() - mark - sizeof(RecordHeader);
  if (length > kMaxRecordBytes) {
    out->Truncate(mark);
    return false;
  }
  const size_t padding = (8 - length % 8) % 8;
  if (padding != 0) std::memset(out->Append(padding), 0, padding);
  Store(out->data() + mark + offsetof(RecordHeader, length), static_cast<uint32_t>(length));
  return true;
}

}  // namespace vesper::wire
