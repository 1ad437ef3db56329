#include "tests/wire/handles.h"

#include <cstdio>

namespace vesper::test {
namespace {

// Values fit 32 bits, so that they survive as pointers everywhere: tag, type, slot.
constexpr uint64_t kClientTag = 0xc;
constexpr uint64_t kServerTag = 0x5;
constexpr uint32_t kScramble = 0x2a5;

uint64_t Compose(uint64_t tag, HandleType type, uint32_t slot) {
  return tag << 28 | static_cast<uint64_t>(type) << 20 | slot;
}
bool Is(uint64_t tag, HandleType type, uint64_t value) {
  return value >> 28 == tag && (value >> 20 & 0xff) == static_cast<uint64_t>(type);
}
uint32_t Slot(uint64_t value) { return static_cast<uint32_t>(value & 0xfffff); }

}  // namespace

uint64_t Handles::Client(HandleType type, uint32_t slot) {
  if (!native_) return Compose(kClientTag, type, slot);
  if (!IsDispatchable(type)) return Id(type, slot);
  auto& header = headers_[{type, slot}];
  if (header == nullptr) header = std::make_unique<DispatchableHeader>(DispatchableHeader{0, Id(type, slot)});
  return reinterpret_cast<uintptr_t>(header.get());
}

uint64_t Handles::Server(HandleType type, uint32_t slot) const { return Compose(kServerTag, type, slot ^ kScramble); }

ObjectId Handles::ToId(HandleType type, uint64_t client) {
  if (client == 0) return kNullObject;
  if (!native_) return Id(type, Slot(client));
  if (!IsDispatchable(type)) return client;
  return reinterpret_cast<const DispatchableHeader*>(static_cast<uintptr_t>(client))->id;
}

uint64_t Handles::ToServer(HandleType type, uint64_t client) {
  if (client == 0) return 0;
  const uint32_t slot = SlotOf(ToId(type, client));
  return slot >= kStaleSlot ? 0 : Server(type, slot);
}

uint64_t Handles::ToClient(HandleType type, uint64_t server) const {
  if (server == 0) return 0;
  const uint32_t slot = Slot(server) ^ kScramble;
  return native_ ? Id(type, slot) : Compose(kClientTag, type, slot);
}

void Handles::Fault(HandleType type, uint64_t value, const char* what) {
  char text[120];
  std::snprintf(text, sizeof(text), "%s: %#llx as a %s", what, static_cast<unsigned long long>(value),
                kHandleTypeNames[static_cast<size_t>(type)]);
  if (error_.empty()) error_ = text;
}

ObjectId Handles::Mapper::ToWire(HandleType type, uint64_t handle) const {
  if (Is(server_ ? kServerTag : kClientTag, type, handle)) {
    return all_->Id(type, server_ ? Slot(handle) ^ kScramble : Slot(handle));
  }
  all_->Fault(type, handle,
              server_ ? "the server encodes what is no handle of its own" : "the client encodes what it must not");
  return MakeObjectId(type, 1, kStaleSlot);
}

bool Handles::Mapper::FromWire(HandleType type, ObjectId id, wire::HandleUse use, uint64_t* handle) {
  if (TypeOf(id) != type || GenerationOf(id) != 1) {
    all_->Fault(type, id, "an id of another type or none");
    return false;
  }
  if (SlotOf(id) >= kStaleSlot) {
    if (use != wire::HandleUse::kIgnorable) all_->Fault(type, id, "a stale id where it may not be ignored");
    *handle = 0;
    return true;
  }
  *handle = server_ ? all_->Server(type, SlotOf(id)) : all_->Client(type, SlotOf(id));
  return true;
}

}  // namespace vesper::test
