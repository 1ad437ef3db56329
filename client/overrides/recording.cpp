#include "client/overrides/recording.h"

#include <new>
#include <utility>

#include "client/session/session.h"
#include "generated/wire/codecs.h"
#include "runtime/wire/record.h"

namespace vesper::client {

void EndRecording(CommandBuffer* buffer) noexcept {
  Session& session = *buffer->session;
  const uint64_t number = std::exchange(buffer->recording, 0);
  if (number == 0 || session.abandoned()) return;
  for (const Destruction& each : buffer->device->recordings.End(number)) {
    session.PostRecords(each.record);
    session.ids().Forget(each.object);
  }
}

void DropDestructions(Device* device) noexcept {
  if (device->session->abandoned()) return;
  for (const Destruction& each : device->recordings.Drop()) device->session->ids().Forget(each.object);
}

bool DestroyLater(Device* device, Command command, const void* args, ObjectId object) noexcept {
  if (device->session->abandoned() || !device->recordings.any()) return false;
  try {
    wire::ByteBuffer record;
    const size_t mark = wire::BeginRecord(&record, static_cast<uint16_t>(command), 0);
    wire::Encoder encoder(&record);
    wire::kCodecs[static_cast<uint16_t>(command)].encode_request(encoder, args);
    if (!wire::EndRecord(&record, mark)) return false;
    return device->recordings.Defer({object, {record.data(), record.data() + record.size()}});
  } catch (const std::bad_alloc&) {
    return false;
  }
}

}  // namespace vesper::client
