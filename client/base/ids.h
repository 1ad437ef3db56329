// The ids that a session gives its objects, and what the client itself knows of the stateful ones among them.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "client/base/limits.h"
#include "runtime/mutex.h"
#include "runtime/object_id.h"

namespace vesper::client {

// Mints ids: a slot and its generation. A slot is used again only after Forget(), with the next generation, and retired when
// its generations run out. Thread-safe.
class Ids {
 public:
  // `max_slots`: how many objects the server takes. `max_generation` is lower in tests.
  explicit Ids(uint32_t max_slots = limits::kDefaultSlots, uint32_t max_generation = kMaxGeneration)
      : max_slots_(max_slots), max_generation_(max_generation) {}

  // False when slots or memory are exhausted; then none is minted.
  bool Mint(HandleType type, std::span<uint64_t> ids) noexcept;
  // Ids that are not live (null, stale, foreign) are ignored.
  void Forget(ObjectId id) noexcept;

 private:
  struct Slot {
    uint32_t generation = 0;
    bool live = false;
  };

  const uint32_t max_slots_;
  const uint32_t max_generation_;
  Mutex mutex_;
  std::vector<Slot> slots_ VESPER_GUARDED_BY(mutex_);  // slot n is at n - 1
  std::vector<uint32_t> free_
      VESPER_GUARDED_BY(mutex_);  // its capacity always suffices for every slot, so that Forget() cannot fail
};

// What the client keeps for one stateful object. Derived types say which lock guards what.
struct ObjectState {
  explicit ObjectState(ObjectId object_id) : id(object_id) {}
  virtual ~ObjectState() = default;
  const ObjectId id;
};

// States by id, found without a lock. An application must not use an object while destroying it, so that a state that was
// found stays valid during the call.
class States {
 public:
  States() = default;
  ~States();  // deletes what is left
  States(const States&) = delete;
  States& operator=(const States&) = delete;

  // Takes ownership. False (and `state` is deleted) when memory is exhausted.
  bool Add(ObjectState* state) noexcept;
  // The state of a live object, or nullptr.
  ObjectState* Find(ObjectId id) const noexcept;
  template <typename T, typename H>
  T* Get(H handle) const noexcept {
    static_assert(sizeof(H) == sizeof(uint64_t));
    uint64_t id;
    __builtin_memcpy(&id, &handle, sizeof(id));
    return static_cast<T*>(Find(id));
  }
  // Gives the state back to the caller, who deletes it.
  ObjectState* Remove(ObjectId id) noexcept;

 private:
  static constexpr uint32_t kPageBits = 12;
  using Page = std::array<std::atomic<ObjectState*>, 1u << kPageBits>;
  std::array<std::atomic<Page*>, 1u << kPageBits> pages_{};
};

}  // namespace vesper::client
