#include "client/base/ids.h"

#include <memory>
#include <new>

namespace vesper::client {

bool Ids::Mint(HandleType type, std::span<uint64_t> ids) noexcept {
  const MutexLock lock(mutex_);
  try {
    while (free_.size() < ids.size()) {
      if (slots_.size() >= max_slots_) return false;
      slots_.push_back({});
      if (free_.capacity() < slots_.capacity()) free_.reserve(slots_.capacity());
      free_.push_back(static_cast<uint32_t>(slots_.size()));
    }
  } catch (const std::bad_alloc&) {
    return false;
  }
  for (uint64_t& id : ids) {
    const uint32_t number = free_.back();
    free_.pop_back();
    Slot& slot = slots_[number - 1];
    slot.live = true;
    id = MakeObjectId(type, ++slot.generation, number);
  }
  return true;
}

void Ids::Forget(ObjectId id) noexcept {
  const MutexLock lock(mutex_);
  const uint32_t number = SlotOf(id);
  if (number == 0 || number > slots_.size()) return;
  Slot& slot = slots_[number - 1];
  if (!slot.live || slot.generation != GenerationOf(id)) return;
  slot.live = false;
  if (slot.generation < max_generation_) free_.push_back(number);
}

States::~States() {
  for (const std::atomic<Page*>& entry : pages_) {
    Page* page = entry.load();
    if (page == nullptr) continue;
    for (const std::atomic<ObjectState*>& state : *page) delete state.load();
    delete page;
  }
}

bool States::Add(ObjectState* state) noexcept {
  std::unique_ptr<ObjectState> owned(state);
  const uint32_t slot = SlotOf(state->id);
  if (slot >> (2 * kPageBits) != 0) return false;
  std::atomic<Page*>& entry = pages_[slot >> kPageBits];
  Page* page = entry.load(std::memory_order_acquire);
  if (page == nullptr) {
    Page* made = new (std::nothrow) Page{};
    if (made == nullptr) return false;
    if (entry.compare_exchange_strong(page, made, std::memory_order_acq_rel)) {
      page = made;
    } else {
      delete made;  // another thread was faster
    }
  }
  (*page)[slot & ((1u << kPageBits) - 1)].store(owned.release(), std::memory_order_release);
  return true;
}

ObjectState* States::Find(ObjectId id) const noexcept {
  const uint32_t slot = SlotOf(id);
  if (slot >> (2 * kPageBits) != 0) return nullptr;
  const Page* page = pages_[slot >> kPageBits].load(std::memory_order_acquire);
  if (page == nullptr) return nullptr;
  ObjectState* state = (*page)[slot & ((1u << kPageBits) - 1)].load(std::memory_order_acquire);
  return state != nullptr && state->id == id ? state : nullptr;
}

ObjectState* States::Remove(ObjectId id) noexcept {
  ObjectState* state = Find(id);
  if (state == nullptr) return nullptr;
  const uint32_t slot = SlotOf(id);
  Page* page = pages_[slot >> kPageBits].load(std::memory_order_acquire);
  (*page)[slot & ((1u << kPageBits) - 1)].store(nullptr, std::memory_order_release);
  return state;
}

}  // namespace vesper::client
