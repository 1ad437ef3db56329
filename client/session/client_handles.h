// Ids in replies and messages as handles of the application: objects with the loader's word where the handle is dispatchable.
#pragma once

#include "client/session/session.h"
#include "generated/vk/commands.h"
#include "runtime/wire/encoder.h"
#include "runtime/wire/handle_mapper.h"

namespace vesper::client {

// Writes what goes to the server.
class RequestEncoder : public wire::Encoder {
 public:
  explicit RequestEncoder(wire::ByteBuffer* out, const wire::HandleMapper* handles = nullptr) : Encoder(out, handles) {
    LeaveOutWhatIsNotOffered();
  }
};

class ClientHandles final : public wire::HandleMapper {
 public:
  explicit ClientHandles(Session* session) : session_(session) {}

  ObjectId ToWire(HandleType, uint64_t handle) const override { return handle; }

  // Null for what is not there any more: messages may come late.
  bool FromWire(HandleType type, ObjectId id, wire::HandleUse, uint64_t* handle) override {
    *handle = id;
    if (IsDispatchable(type)) *handle = reinterpret_cast<uintptr_t>(session_->FindDispatchable(type, id));
    return true;
  }

 private:
  Session* const session_;
};

}  // namespace vesper::client
