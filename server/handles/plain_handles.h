// What most recorded commands have to do with handles: they name objects of which there is nothing to say, and the driver's handles
// go where the ids stood. The session's reader keeps copies of such objects, so that no command of the kind takes the handle
// table's lock. Everything else is for CommandHandles.
#pragma once

#include <array>
#include <cstring>
#include <span>
#include <vector>

#include "runtime/handle_table.h"
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

  // Starts a command.
  void Begin() {
    ok_ = true;
    version_ = table_->version();
    context_ = nullptr;
    commands_ = kNullObject;
    facts_.Clear();
    carried_.clear();
  }

  // wire::HandleMapper. These fail where something has to be said of the object: it is unknown, pending, a tombstone, held by a
  // command that waits, or lacks commands. The command is then decoded anew, by CommandHandles.
  bool FromWire(HandleType type, ObjectId id, wire::HandleUse, uint64_t* handle) override {
    const Copy& copy = copies_[SlotOf(id) % limits::kCopiedObjects];
    if (copy.id != id || copy.version != version_ || copy.type != type) [[unlikely]]
      return Take(type, id, handle);
    *handle = copy.handle;
    if (copy.facts != nullptr) facts_.Add(type, copy.handle, id, copy.facts);
    if (copy.noted) Note(copy);
    return true;
  }
  bool NewIds(HandleType, const ObjectId*, uint32_t) override { return false; }
  bool IsEnabled(uint16_t needs) const override;
  ObjectId ToWire(HandleType, uint64_t) const override { return kNullObject; }

  // In place of wire::Decoder for such a command; ok() says afterwards whether all is there and nothing is to be said of any object.
  template <typename H>
  H Handle(HandleType type, ObjectId id, wire::HandleUse use) {
    uint64_t raw = 0;
    if (id != kNullObject && !FromWire(type, id, use, &raw)) ok_ = false;
    H handle{};
    std::memcpy(&handle, &raw, sizeof(H));
    return handle;
  }
  // The bytes of a command that has so many; zeros where they end too early.
  const uint8_t* Fixed(std::span<const uint8_t> body, size_t size) {
    static constexpr std::array<uint8_t, limits::kPlainArgumentBytes> kNothing{};
    ok_ = body.size() >= size;
    return ok_ ? body.data() : kNothing.data();
  }
  bool ok() const { return ok_; }

  // Of the command buffer that the command is recorded into; nullptr before one is named.
  const DispatchContext* context() const { return context_; }
  ObjectId commands() const { return commands_; }
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
    bool noted = false;  // of a type that commands() or carried() are about
  };
  static_assert((limits::kCopiedObjects & (limits::kCopiedObjects - 1)) == 0);
  [[gnu::noinline]] bool Take(HandleType type, ObjectId id, uint64_t* handle);
  void Note(const Copy& copy) {
    if (context_ != nullptr) return Carry(copy.id);
    commands_ = copy.id;
    context_ = static_cast<const DispatchContext*>(copy.context);
  }
  [[gnu::noinline]] void Carry(ObjectId id);

  HandleTable* const table_;
  uint64_t version_ = 0;
  bool ok_ = true;
  const DispatchContext* context_ = nullptr;
  ObjectId commands_ = kNullObject;
  NamedFacts facts_;
  std::vector<ObjectId> carried_;
  std::array<Copy, limits::kCopiedObjects> copies_{};  // by the last bits of the slot
};

}  // namespace vesper::server
