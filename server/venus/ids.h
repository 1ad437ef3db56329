// The peer's numbers of objects, which say neither type nor place, and the ids by which the session's handle table knows the
// same objects: minted here as a client mints them. A number is used once; a slot again when its object is gone.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "runtime/object_id.h"
#include "server/venus/walker.h"

namespace vesper::venus {

// Not thread-safe: the front end's lock guards it.
class Ids final : public Objects {
 public:
  explicit Ids(uint32_t max_slots) : slots_(1), max_slots_(max_slots) {}

  uint64_t Find(HandleType type, uint64_t number) const override;
  uint64_t NumberOf(uint64_t handle) const override;
  bool Make(HandleType type, std::span<const uint64_t> numbers, uint64_t* handles) override;

  // The object goes with the pool that it came from.
  void SetPool(uint64_t number, ObjectId pool);
  // After the command that ends it. Unknown numbers and ids are ignored.
  void Forget(ObjectId id);
  // What came from a pool.
  void ForgetOfPool(ObjectId pool);

  size_t live() const { return ids_.size(); }

 private:
  struct Slot {
    ObjectId id = kNullObject;  // null while it is free
    uint64_t number = 0;
    uint32_t generation = 0;
    uint32_t first = 0, next = 0, previous = 0, pool = 0;  // slots of what came from it, and its neighbours there
  };
  struct Recent {
    uint64_t number = 0;
    ObjectId id = kNullObject;
  };
  static constexpr size_t kRecent = 256;

  Slot* SlotWith(ObjectId id);
  void Unlink(Slot* slot, uint32_t index);

  std::unordered_map<uint64_t, ObjectId> ids_;
  mutable std::array<Recent, kRecent> recent_{};
  std::vector<Slot> slots_;  // the first is never used
  std::vector<uint32_t> free_;
  const uint32_t max_slots_;
};

}  // namespace vesper::venus
