#include "client/session/recipes.h"

#include <new>

#include "client/base/limits.h"
#include "generated/vk/commands.h"

namespace vesper::client {

void Recipes::Note(std::span<const uint64_t> ids, std::string_view request) noexcept {
  const MutexLock lock(mutex_);
  try {
    auto found = recipes_.find(request);
    if (found == recipes_.end()) {
      if (recipes_.size() >= limits::kMaxRecipes) return;
      found = recipes_.emplace(request, static_cast<uint32_t>(recipes_.size() + 1)).first;
    }
    for (const uint64_t id : ids) {
      const uint32_t slot = SlotOf(id);
      if (slot >= objects_.size()) objects_.resize(slot + slot / 2 + 1);
      objects_[slot] = {id, found->second};
    }
  } catch (const std::bad_alloc&) {
  }
}

ObjectId Recipes::StandIn(HandleType type, ObjectId id) const noexcept {
  const MutexLock lock(mutex_);
  const uint32_t slot = SlotOf(id);
  if (slot >= objects_.size() || objects_[slot].id != id) return id;
  return MakeObjectId(type, 0, objects_[slot].recipe);  // ids have generations from 1
}

ObjectId RecipeMapper::ToWire(HandleType type, uint64_t handle) const {
  if (IsDispatchable(type)) return reinterpret_cast<const DispatchableHeader*>(handle)->id;
  return recipes_->StandIn(type, handle);
}

}  // namespace vesper::client
