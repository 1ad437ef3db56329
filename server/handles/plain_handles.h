// What most recorded commands, and some others, have to do with handles: they name objects of which there is nothing to say, and the driver's handles
// go where the ids stood. The session's reader keeps copies of such objects, so that no command of the kind takes the handle
// table's lock. Everything else is for CommandHandles.
#pragma once

#include <array>
#include <cstring>
#include <span>
#include <vector>

#include "runtime/handle_table.h"
#include "runtime/wire/decoder.h"
#include "runtime/wire/handle_mapper.h"
#include "server/base/limits.h"
#include "server/handles/named_facts.h"

namespace vesper::server {

struct DispatchContext;

// The reader's alone. While it decodes a command facts may be read without the lock: those of a copied object stay until
// DropRetired(), which the reader calls between commands.
class PlainHandles final : public wire::HandleMapper {
 public:
  explicit PlainHandles(HandleTable* table) : table_(table) {}

  // Starts a command that is recorded into a command buffer, or called on a device. False where something has to be said of that,
  // as for FromWire().
  bool Begin(ObjectId first, HandleType type = HandleType::kCommandBuffer) {
    carried_.clear();
    const uint64_t version = table_->version();
    if (first != first_ || version != first_version_) return Change(first, type);
    version_ = version;
    facts_.Keep(kept_);
    return true;
  }

  // wire::HandleMapper. These fail where something has to be said of the object: it is unknown, pending, a tombstone, held by a
  // command that waits, or lacks commands. The command is then decoded anew, by CommandHandles.
  bool FromWire(HandleType type, ObjectId id, wire::HandleUse, uint64_t* handle) override {
    return Look(type, id, handle);
  }
  // FromWire() for whom calls of functions are too slow.
  [[gnu::always_inline]] bool Look(HandleType type, ObjectId id, uint64_t* handle) {
    if (id == first_ && type == first_type_) {
      *handle = first_handle_;
      return true;
    }
    const Copy& copy = copies_[SlotOf(id) % limits::kCopiedObjects];
    if (copy.id != id || copy.version != version_ || copy.type != type) [[unlikely]]
      return Take(type, id, handle);
    *handle = copy.handle;
    if (copy.facts != nullptr) facts_.Add(type, copy.handle, id, copy.facts);
    if (copy.noted) carried_.push_back(id);
    return true;
  }
  bool NewIds(HandleType, const ObjectId*, uint32_t) override { return false; }
  bool IsEnabled(uint16_t needs) const override;
  ObjectId ToWire(HandleType, uint64_t) const override { return kNullObject; }

  // Of the command buffer or the device.
  const DispatchContext* context() const { return context_; }
  const NamedFacts& facts() const { return facts_; }
  // Query pools and further command buffers that it names.
  const std::vector<ObjectId>& carried() const { return carried_; }

 private:
  struct alignas(64) Copy {
    ObjectId id = kNullObject;
    uint64_t version = 0;  // of the table
    uint64_t handle = 0;
    const void* context = nullptr;
    ObjectFacts* facts = nullptr;
    HandleType type{};
    bool noted = false;  // of a type that carried() is about
  };
  static_assert((limits::kCopiedObjects & (limits::kCopiedObjects - 1)) == 0);
  [[gnu::noinline]] bool Take(HandleType type, ObjectId id, uint64_t* handle);
  [[gnu::noinline]] bool Change(ObjectId first, HandleType type);

  HandleTable* const table_;
  uint64_t version_ = 0;
  // The command buffer or device of the commands before, as the table of that version has it.
  ObjectId first_ = kNullObject;
  HandleType first_type_ = HandleType::kNone;
  uint64_t first_version_ = 0;
  uint64_t first_handle_ = 0;
  const DispatchContext* context_ = nullptr;
  size_t kept_ = 0;  // facts of it
  NamedFacts facts_;
  std::vector<ObjectId> carried_;
  std::array<Copy, limits::kCopiedObjects> copies_{};  // by the last bits of the slot
};

// A decoder of such commands that does not have to find out what its handles are.
class PlainDecoder final : public wire::Decoder {
 public:
  // Of nothing, before Restart().
  explicit PlainDecoder(PlainHandles* handles) : Decoder({}, nullptr, handles), handles_(*handles) {}

  // Inlined, as everything that is done for each of these commands; the others are many more.
  template <typename H>
  [[gnu::always_inline]] H Handle(HandleType type, ObjectId id, wire::HandleUse) {
    uint64_t raw = 0;
    if (id != kNullObject && !handles_.Look(type, id, &raw)) [[unlikely]]
      Fail("an object of which there is something to say");
    H handle{};
    std::memcpy(&handle, &raw, sizeof(H));
    return handle;
  }

 private:
  PlainHandles& handles_;
};

template <typename T>
[[gnu::always_inline]] inline T* DecodeCopy(PlainDecoder& d, uint64_t count) {
  return d.Copy<T>(d.Count(count, sizeof(T)));
}

}  // namespace vesper::server
