// Ids in replies as handles of the application: objects with the loader's word where the handle is dispatchable.
#pragma once

#include "client/session.h"
#include "generated/vk/commands.h"
#include "runtime/wire/handle_mapper.h"

namespace vesper::client {

class ClientHandles final : public wire::HandleMapper {
 public:
  explicit ClientHandles(Session* session) : session_(session) {}

  ObjectId ToWire(HandleType, uint64_t handle) const override { return handle; }

  // Replies name no dispatchable objects but physical devices, and those the client knows all of.
  bool FromWire(HandleType type, ObjectId id, wire::HandleUse, uint64_t* handle) override {
    *handle = id;
    if (!IsDispatchable(type)) return true;
    *handle = 0;
    const Instance* instance = session_->instance();
    if (type != HandleType::kPhysicalDevice || instance == nullptr) return true;
    for (const auto& each : instance->physical_devices) {
      if (each->header.id == id) *handle = reinterpret_cast<uintptr_t>(each.get());
    }
    return true;
  }

 private:
  Session* const session_;
};

}  // namespace vesper::client
