#include "server/venus/ids.h"

namespace vesper::venus {

uint64_t Ids::Find(HandleType type, uint64_t number) const {
  if (number == 0) return kNullObject;
  Recent& recent = recent_[number % kRecent];
  if (recent.number != number) {
    const auto found = ids_.find(number);
    if (found == ids_.end()) return kNullObject;
    recent = {number, found->second};
  }
  return TypeOf(recent.id) == type ? recent.id : kNullObject;
}

uint64_t Ids::NumberOf(uint64_t handle) const {
  const uint32_t slot = SlotOf(handle);
  return slot < slots_.size() && slots_[slot].id == handle ? slots_[slot].number : 0;
}

bool Ids::Make(HandleType type, std::span<const uint64_t> numbers, uint64_t* handles) {
  for (size_t i = 0; i < numbers.size(); ++i) {
    if (numbers[i] == 0 || ids_.contains(numbers[i])) return false;
    uint32_t index;
    if (!free_.empty()) {
      index = free_.back();
      free_.pop_back();
    } else if (slots_.size() < max_slots_) {
      index = static_cast<uint32_t>(slots_.size());
      slots_.emplace_back();
    } else {
      return false;
    }
    Slot& slot = slots_[index];
    slot.id = MakeObjectId(type, ++slot.generation, index);
    slot.number = numbers[i];
    ids_.emplace(numbers[i], slot.id);
    handles[i] = slot.id;
  }
  return true;
}

Ids::Slot* Ids::SlotWith(ObjectId id) {
  const uint32_t index = SlotOf(id);
  return id != kNullObject && index < slots_.size() && slots_[index].id == id ? &slots_[index] : nullptr;
}

void Ids::SetPool(uint64_t number, ObjectId pool) {
  const auto found = ids_.find(number);
  Slot* owner = SlotWith(pool);
  if (found == ids_.end() || owner == nullptr) return;
  const uint32_t index = SlotOf(found->second);
  Slot& slot = slots_[index];
  slot.pool = SlotOf(pool);
  slot.next = owner->first;
  if (owner->first != 0) slots_[owner->first].previous = index;
  owner->first = index;
}

void Ids::Unlink(Slot* slot, uint32_t index) {
  if (slot->pool == 0) return;
  if (slot->next != 0) slots_[slot->next].previous = slot->previous;
  if (slot->previous != 0) slots_[slot->previous].next = slot->next;
  Slot& pool = slots_[slot->pool];
  if (pool.first == index) pool.first = slot->next;
}

void Ids::Forget(ObjectId id) {
  Slot* slot = SlotWith(id);
  if (slot == nullptr) return;
  ForgetOfPool(id);
  const uint32_t index = SlotOf(id);
  Unlink(slot, index);
  Recent& recent = recent_[slot->number % kRecent];
  if (recent.number == slot->number) recent = {};
  ids_.erase(slot->number);
  const uint32_t generation = slot->generation;
  *slot = {};
  slot->generation = generation;
  if (generation < kMaxGeneration) free_.push_back(index);
}

void Ids::ForgetOfPool(ObjectId pool) {
  const Slot* owner = SlotWith(pool);
  while (owner != nullptr && owner->first != 0) Forget(slots_[owner->first].id);
}

}  // namespace vesper::venus
