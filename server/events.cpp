#include "server/events.h"

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

void Events::MemoryChanged(ObjectId memory, std::span<const ByteRun> runs,
                           std::span<const uint8_t> bytes, uint64_t base) {
  wire::ByteBuffer out;
  const size_t mark = Begin(&out, wire::EventKind::kMemoryChanged);
  const wire::MemoryRuns head{memory, static_cast<uint32_t>(runs.size()), 0};
  out.Append(&head, sizeof(head));
  for (const ByteRun& run : runs) {
    const wire::MemoryRun where{run.offset, run.size};
    out.Append(&where, sizeof(where));
    out.Append(bytes.data() + (run.offset - base), run.size);
    static constexpr uint8_t kPadding[8] = {};
    out.Append(kPadding, (8 - run.size % 8) % 8);
  }
  wire::EndRecord(&out, mark);
  outbox_->Send(MessageKind::kEvent, 0, {out.data(), out.size()});
}

}  // namespace vesper::server
