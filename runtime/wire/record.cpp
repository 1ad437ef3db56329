#include "runtime/wire/record.h"

#include "runtime/wire/control.h"
#include "runtime/wire/limits.h"

namespace vesper::wire {

// As i386 lays them out, which aligns 64 bits to 4 bytes, and everybody else.
static_assert(sizeof(MemoryRange) == 24 && sizeof(MemoryMapping) == 32);
static_assert(sizeof(MemoryRuns) == 16 && offsetof(MemoryRuns, count) == 8);
static_assert(sizeof(MemoryRun) == 16 && offsetof(MemoryRun, changed) == 12);
static_assert(sizeof(Completed) == 16 && sizeof(Progress) == 8 && sizeof(CommandCost) == 8);
static_assert(sizeof(PresentedFrame) == 40 && offsetof(PresentedFrame, height) == 36);
static_assert(sizeof(PictureMemory) == 32 && sizeof(PictureTile) == 32 && offsetof(PictureTile, bytes) == 28);
static_assert(sizeof(DeviceLost) == 8 && sizeof(Made) == 16 && sizeof(DebugMessage) == 24);

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
