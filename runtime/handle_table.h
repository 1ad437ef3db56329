// The server's side of object ids: a paged array from an id's slot to the driver's handle and what
// is known of the object. One per session; the session's reader, its pool and its queues use it at
// the same time (server/handles/command_handles.h).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "runtime/object_id.h"

namespace vesper {

enum class ObjectState : uint8_t {
  kFree,     // nothing here
  kPending,  // its creation runs on the pool
  kLive,
  kFailed  // a tombstone: the creation failed after the client went on
};

// What somebody knows of an object beside its handle.
struct ObjectFacts {
  virtual ~ObjectFacts() = default;
  ObjectFacts* next_retired = nullptr;  // the table's own
};

struct Object {
  uint64_t handle = 0;  // the driver's
  ObjectId id = kNullObject;
  ObjectId owner = kNullObject;   // goes with this one
  const void* context = nullptr;  // how to call the driver, for dispatchable handles
  ObjectFacts* facts = nullptr;   // the table's own
  int32_t result = 0;             // the VkResult of a tombstone; of what is live: why it lacks something
  uint32_t pins = 0;              // jobs that use it; while pinned it is not destroyed
  uint32_t holds = 0;             // commands that wait and change it; later ones wait behind them
  uint32_t first_child = 0;
  uint32_t next_sibling = 0;
  uint32_t previous_sibling = 0;  // 0: the owner's first
  ObjectState state = ObjectState::kFree;
  HandleType type{};         // as this side numbers types
  bool reversible = false;   // found by IdOf()
  bool outlives_id = false;  // its destruction waits for a pin although the client may use the slot again
  bool copied = false;       // the session's reader has a copy of what is said here
};

// Everything that takes a Lock wants the one that Acquire() gave; pointers to objects are valid
// while it is held.
class HandleTable {
 public:
  using Lock = std::unique_lock<std::mutex>;
  static constexpr uint32_t kMaxSlots = 1u << 22;

  explicit HandleTable(uint32_t max_slots = kMaxSlots) : max_slots_(max_slots) {
    for (size_t i = 0; i < types_.size(); ++i) types_[i] = static_cast<HandleType>(i);
  }
  ~HandleTable();
  HandleTable(const HandleTable&) = delete;
  HandleTable& operator=(const HandleTable&) = delete;

  // How the peer numbers handle types, when not as this side does: types[byte of the peer] is ours,
  // 0 where unknown.
  void TranslateTypes(std::span<const HandleType, 256> types) { std::copy(types.begin(), types.end(), types_.begin()); }

  [[nodiscard]] Lock Acquire() { return Lock(mutex_); }

  // Whether a client library can have made this id for an object of that type: says nothing about
  // its existence.
  bool IsPlausible(HandleType type, ObjectId id) const {
    const uint32_t slot = SlotOf(id);
    return slot != 0 && slot < max_slots_ && GenerationOf(id) != 0 && types_[static_cast<size_t>(id >> 56)] == type;
  }
  HandleType TypeOfPeer(ObjectId id) const { return types_[static_cast<size_t>(id >> 56)]; }

  // The object of that id, in whatever state but kFree; nullptr for a stale or unknown id. O(1).
  Object* Find(const Lock& lock, ObjectId id);
  // The object that has the id's slot now, whichever id of the slot is its own; nullptr for none.
  const Object* Holder(const Lock&, ObjectId id) const {
    const Object* object = Slot(SlotOf(id));
    return object == nullptr || object->state == ObjectState::kFree ? nullptr : object;
  }
  // Whether no object of that slot has had this generation or a later one.
  bool IsNew(const Lock&, ObjectId id) const {
    const Object* object = Slot(SlotOf(id));
    return object == nullptr || GenerationOf(id) > GenerationOf(object->id);
  }
  // Makes the object, which must be plausible. An older object of that slot moves aside when its
  // destruction is waited for, otherwise it is forgotten: whether the peer may use the slot again is
  // for the caller to say. nullptr when the id exists or was used before.
  Object* Add(const Lock& lock, HandleType type, ObjectId id, ObjectId owner, const void* context);
  // What became of an added object: kLive with `handle`, or kFailed with `result`.
  void SetLive(const Lock& lock, Object* object, uint64_t handle, bool reversible);
  void SetFailed(const Lock& lock, Object* object, int32_t result);

  // Keeps `facts` as long as the object; of an unknown id they are dropped.
  void SetFacts(const Lock& lock, ObjectId id, std::unique_ptr<ObjectFacts> facts);
  // Of an object that lives: why it lacks something, or 0.
  void SetResult(const Lock& lock, ObjectId id, int32_t result);

  // Forgets the object and everything it owns. Unknown ids are ignored.
  void Forget(const Lock& lock, ObjectId id);
  // Forgets what it owns: all for type 0, otherwise those of `type` whose creation does not wait.
  void ForgetChildren(const Lock& lock, ObjectId id, HandleType type = HandleType{});

  void Pin(const Lock& lock, ObjectId id);
  void Unpin(const Lock& lock, ObjectId id);

  // From now on IdOf() knows every object, not only the reversible ones. Only the first call does
  // something.
  void MakeReversible(const Lock& lock);

  void Hold(const Lock& lock, ObjectId id);
  void Release(const Lock& lock, ObjectId id);
  bool any_held(const Lock&) const { return held_ != 0; }

  // --- copies: what one thread, the session's reader, keeps so as not to take the lock for each command ---

  // Another number whenever something is held, and when what was copied is forgotten or changes. Any thread, without the lock:
  // what was copied at this version says what the lock's last holder could have read.
  uint64_t version() const { return version_.load(std::memory_order_acquire); }
  // The caller keeps what is said of the object, and may read its facts without the lock until DropRetired().
  void NoteCopied(const Lock&, Object* object) { object->copied = true; }
  // Facts of objects that were copied stay until this call, by the thread that has the copies and is using none.
  void DropRetired() {
    if (retired_.load(std::memory_order_relaxed) != nullptr) DropFacts(retired_.exchange(nullptr));
  }

  // The id under which a reversible driver handle is known, or kNullObject.
  ObjectId IdOf(const Lock& lock, HandleType type, uint64_t handle) const;

  // Whether every object is of one of these types. Looks at all of them.
  bool HasOnly(const Lock&, std::span<const HandleType> types) const;
  // The driver has made objects again: those with a handle that is a key have the handle beside it from now on.
  void Rebind(const Lock&, const std::unordered_map<uint64_t, uint64_t>& handles);

  size_t live(const Lock&) const { return live_; }
  size_t peak(const Lock&) const { return peak_; }

 private:
  static constexpr uint32_t kPageSlots = 1024;
  using Page = std::array<Object, kPageSlots>;

  Object* Slot(uint32_t slot) const;
  Object* MakeSlot(uint32_t slot);
  void Link(Object* object);
  void Unlink(Object* object);
  void Remove(const Lock& lock, Object* object);
  void Outdate() { version_.store(version_.load(std::memory_order_relaxed) + 1, std::memory_order_release); }
  void Retire(const Object& object);
  static void DropFacts(ObjectFacts* first);

  const uint32_t max_slots_;
  std::mutex mutex_;
  std::array<HandleType, 256> types_;
  std::vector<std::unique_ptr<Page>> pages_;
  std::unordered_map<ObjectId, Object> aside_;       // destruction waited for, slot used again
  std::unordered_multimap<uint64_t, ObjectId> ids_;  // of reversible handles
  bool all_reversible_ = false;
  size_t live_ = 0;
  size_t peak_ = 0;
  size_t held_ = 0;  // the sum of all holds
  std::atomic<uint64_t> version_ = 1;
  std::atomic<ObjectFacts*> retired_ = nullptr;  // a list
};

}  // namespace vesper
