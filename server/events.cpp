#include "server/events.h"

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

void Events::Completed(ObjectId queue, uint64_t serial) {
  SendStruct(outbox_, wire::EventKind::kCompleted, wire::Completed{queue, serial});
}

void Events::DeviceLost(ObjectId device, std::string_view why) {
  SendStruct(outbox_, wire::EventKind::kDeviceLost, wire::DeviceLost{device}, why);
}

void Events::MemoryChanged(ObjectId memory, std::span<const ByteRun> runs, std::span<const uint8_t> bytes,
                           uint64_t base) {
  thread_local wire::RunWriter writer(static_cast<uint16_t>(wire::EventKind::kMemoryChanged));
  writer.Begin(memory);
  for (const ByteRun& run : runs) writer.Add(run.offset, bytes.subspan(run.offset - base, run.size));
  outbox_->Send(MessageKind::kEvent, 0, writer.Finish());
}

}  // namespace vesper::server
