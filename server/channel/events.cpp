#include "server/channel/events.h"

#include "runtime/wire/memory_runs.h"
#include "runtime/wire/record.h"

namespace vesper::server {
namespace {

size_t Begin(wire::ByteBuffer* out, wire::EventKind kind) {
  return wire::BeginRecord(out, static_cast<uint16_t>(kind), 0);
}

template <typename T>
void SendStruct(Outbox* outbox, wire::EventKind kind, const T& body, std::string_view text = {}) {
  wire::ByteBuffer out;
  const size_t mark = Begin(&out, kind);
  out.Append(&body, sizeof(T));
  out.Append(text.data(), text.size());
  wire::EndRecord(&out, mark);
  outbox->Send(MessageKind::kEvent, 0, {out.data(), out.size()});
}

}  // namespace

// In shared memory where there is some: no thread of the client but the one that waits for it learns of it.
void Events::Completed(ObjectId queue, uint64_t serial) {
  if (outbox_->Raise(queue, serial)) return;
  SendStruct(outbox_, wire::EventKind::kCompleted, wire::Completed{queue, serial});
}

void Events::Progress(uint64_t marks, std::span<const wire::CommandCost> changed) {
  if (changed.empty() && outbox_->Raise(wire::kProgressKey, marks)) return;
  const std::string_view costs(reinterpret_cast<const char*>(changed.data()), changed.size_bytes());
  SendStruct(outbox_, wire::EventKind::kProgress, wire::Progress{marks}, costs);
}

void Events::Made(ObjectId object, VkResult result) {
  SendStruct(outbox_, wire::EventKind::kMade, wire::Made{object, result});
}

void Events::MemoryCredit(const wire::MemoryCredit& credit) {
  SendStruct(outbox_, wire::EventKind::kMemoryCredit, credit);
}

void Events::DeviceLost(ObjectId device, std::string_view why) {
  SendStruct(outbox_, wire::EventKind::kDeviceLost, wire::DeviceLost{device}, why);
}

void Events::MemoryChanged(ObjectId memory, const wire::Changes& changes) {
  thread_local wire::RunWriter writer(static_cast<uint16_t>(wire::EventKind::kMemoryChanged));
  writer.Begin(memory);
  writer.Add(changes);
  if (writer.Finish().empty()) return;
  outbox_->SendBuffer(writer.buffer());
}

void Events::Picture(const wire::PictureTile& tile, std::span<const uint8_t> jpeg) {
  SendStruct(outbox_, wire::EventKind::kPicture, tile, {reinterpret_cast<const char*>(jpeg.data()), jpeg.size()});
}

void Events::MemoryRows(ObjectId memory, uint64_t offset, size_t stride, std::span<const uint8_t> first,
                        uint32_t rows) {
  thread_local wire::RunWriter writer(static_cast<uint16_t>(wire::EventKind::kMemoryChanged));
  writer.Begin(memory);
  for (uint32_t row = 0; row < rows; ++row) {
    writer.Add(offset + row * stride, {first.data() + row * stride, first.size()});
  }
  if (writer.Finish().empty()) return;
  outbox_->SendBuffer(writer.buffer());
}

}  // namespace vesper::server
