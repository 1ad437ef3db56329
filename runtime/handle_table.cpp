#include "runtime/handle_table.h"

#include <algorithm>
#include <utility>

namespace vesper {

HandleTable::~HandleTable() {
  for (const auto& page : pages_) {
    for (size_t i = 0; page != nullptr && i < kPageSlots; ++i) delete (*page)[i].facts;
  }
  for (const auto& [id, object] : aside_) delete object.facts;
  DropFacts(retired_);
}

void HandleTable::DropFacts(ObjectFacts* first) {
  while (first != nullptr) delete std::exchange(first, first->next_retired);
}

// With the lock: the facts of the object, which was copied or not, are needed by the table no longer.
void HandleTable::Retire(const Object& object) {
  if (object.facts == nullptr || !object.copied) {
    delete object.facts;
    return;
  }
  object.facts->next_retired = retired_.load(std::memory_order_relaxed);
  while (!retired_.compare_exchange_weak(object.facts->next_retired, object.facts)) {
  }
}

void HandleTable::SetFacts(const Lock& lock, ObjectId id, std::unique_ptr<ObjectFacts> facts) {
  Object* object = Find(lock, id);
  if (object == nullptr) return;
  if (object->copied) Outdate();
  Retire(*object);
  object->facts = facts.release();
}

void HandleTable::SetResult(const Lock& lock, ObjectId id, int32_t result) {
  Object* object = Find(lock, id);
  if (object == nullptr || object->result == result) return;
  if (object->copied) Outdate();
  object->result = result;
}

Object* HandleTable::Slot(uint32_t slot) const {
  const size_t page = slot / kPageSlots;
  if (page >= pages_.size() || pages_[page] == nullptr) return nullptr;
  return &(*pages_[page])[slot % kPageSlots];
}

Object* HandleTable::MakeSlot(uint32_t slot) {
  const size_t page = slot / kPageSlots;
  if (page >= pages_.size()) pages_.resize(page + 1);
  if (pages_[page] == nullptr) pages_[page] = std::make_unique<Page>();
  return &(*pages_[page])[slot % kPageSlots];
}

Object* HandleTable::Find(const Lock&, ObjectId id) {
  Object* object = Slot(SlotOf(id));
  if (object != nullptr && object->id == id && object->state != ObjectState::kFree) return object;
  if (aside_.empty()) return nullptr;
  const auto found = aside_.find(id);
  return found == aside_.end() ? nullptr : &found->second;
}

Object* HandleTable::Add(const Lock& lock, HandleType type, ObjectId id, ObjectId owner, const void* context) {
  Object* object = MakeSlot(SlotOf(id));
  if (GenerationOf(id) <= GenerationOf(object->id)) return nullptr;
  if (object->state != ObjectState::kFree) {
    if (object->outlives_id || object->pins != 0 || object->holds != 0 || object->state == ObjectState::kPending) {
      ForgetChildren(lock, object->id);
      Unlink(object);
      aside_.emplace(object->id, *object);
    } else {
      Remove(lock, object);
    }
  }
  *object = Object{};
  object->id = id;
  object->type = type;
  object->context = context;
  object->state = ObjectState::kPending;
  object->owner = Find(lock, owner) == nullptr || SlotOf(owner) == SlotOf(id) ? kNullObject : owner;
  Link(object);
  peak_ = std::max(peak_, ++live_);
  return object;
}

void HandleTable::SetLive(const Lock&, Object* object, uint64_t handle, bool reversible) {
  object->handle = handle;
  object->state = ObjectState::kLive;
  object->reversible = reversible || (all_reversible_ && object->context == nullptr);
  if (object->reversible) ids_.emplace(handle, object->id);
}

void HandleTable::SetFailed(const Lock&, Object* object, int32_t result) {
  object->handle = 0;
  object->result = result;
  object->state = ObjectState::kFailed;
}

void HandleTable::Link(Object* object) {
  Object* owner = Slot(SlotOf(object->owner));
  if (object->owner == kNullObject || owner == nullptr || owner->id != object->owner) {
    object->owner = kNullObject;  // an owner that was moved aside has no list any more
    return;
  }
  object->next_sibling = owner->first_child;
  if (owner->first_child != 0) Slot(owner->first_child)->previous_sibling = SlotOf(object->id);
  owner->first_child = SlotOf(object->id);
}

void HandleTable::Unlink(Object* object) {
  if (object->owner == kNullObject) return;
  if (object->previous_sibling != 0) {
    Slot(object->previous_sibling)->next_sibling = object->next_sibling;
  } else {
    Slot(SlotOf(object->owner))->first_child = object->next_sibling;
  }
  if (object->next_sibling != 0) Slot(object->next_sibling)->previous_sibling = object->previous_sibling;
  object->owner = kNullObject;
  object->next_sibling = object->previous_sibling = 0;
}

void HandleTable::Remove(const Lock& lock, Object* object) {
  ForgetChildren(lock, object->id);
  Unlink(object);
  held_ -= object->holds;
  if (object->reversible) {
    const auto [first, last] = ids_.equal_range(object->handle);
    const auto found = std::find_if(first, last, [&](const auto& entry) { return entry.second == object->id; });
    if (found != last) ids_.erase(found);
  }
  if (object->copied) Outdate();
  Retire(*object);
  const ObjectId id = object->id;
  if (aside_.erase(id) == 0) {
    *object = Object{};
    object->id = id;  // keeps the generation, so that the id is never taken again
  }
  --live_;
}

void HandleTable::Forget(const Lock& lock, ObjectId id) {
  if (Object* object = Find(lock, id)) Remove(lock, object);
}

void HandleTable::ForgetChildren(const Lock& lock, ObjectId id, HandleType type) {
  const Object* owner = Find(lock, id);
  if (owner == nullptr) return;
  uint32_t child = owner->first_child;
  while (child != 0) {
    Object* object = Slot(child);
    child = object->next_sibling;
    if (type == HandleType{} || (object->type == type && object->state != ObjectState::kPending)) Remove(lock, object);
  }
}

void HandleTable::MakeReversible(const Lock&) {
  if (std::exchange(all_reversible_, true)) return;
  for (const auto& page : pages_) {
    if (page == nullptr) continue;
    for (Object& object : *page) {
      if (object.state != ObjectState::kLive || object.reversible) continue;
      if (object.context != nullptr) continue;  // dispatchable: known by another id
      object.reversible = true;
      ids_.emplace(object.handle, object.id);
    }
  }
}

void HandleTable::Pin(const Lock& lock, ObjectId id) {
  if (Object* object = Find(lock, id)) ++object->pins;
}

void HandleTable::Unpin(const Lock& lock, ObjectId id) {
  Object* object = Find(lock, id);
  if (object != nullptr && object->pins != 0) --object->pins;
}

void HandleTable::Hold(const Lock& lock, ObjectId id) {
  Object* object = Find(lock, id);
  if (object == nullptr) return;
  ++object->holds;
  ++held_;
  Outdate();  // what belongs to it is held, too
}

void HandleTable::Release(const Lock& lock, ObjectId id) {
  Object* object = Find(lock, id);
  if (object == nullptr || object->holds == 0) return;
  --object->holds;
  --held_;
}

bool HandleTable::HasOnly(const Lock&, std::span<const HandleType> types) const {
  const auto other = [&](const Object& object) {
    return object.state != ObjectState::kFree && std::find(types.begin(), types.end(), object.type) == types.end();
  };
  return aside_.empty() && std::all_of(pages_.begin(), pages_.end(), [&](const auto& page) {
           return page == nullptr || std::none_of(page->begin(), page->end(), other);
         });
}

void HandleTable::Rebind(const Lock&, const std::unordered_map<uint64_t, uint64_t>& handles) {
  ids_.clear();
  for (const auto& page : pages_) {
    if (page == nullptr) continue;
    for (Object& object : *page) {
      if (object.state != ObjectState::kLive) continue;
      const auto found = handles.find(object.handle);
      if (found != handles.end()) object.handle = found->second;
      if (object.reversible) ids_.emplace(object.handle, object.id);
    }
  }
  Outdate();
}

ObjectId HandleTable::IdOf(const Lock& lock, HandleType type, uint64_t handle) const {
  const auto [first, last] = ids_.equal_range(handle);
  for (auto entry = first; entry != last; ++entry) {
    const Object* object = const_cast<HandleTable*>(this)->Find(lock, entry->second);
    if (object != nullptr && object->type == type) return entry->second;
  }
  return kNullObject;
}

}  // namespace vesper
