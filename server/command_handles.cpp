#include "server/command_handles.h"

#include <fmt/core.h>

#include <algorithm>

namespace vesper::server {
namespace {

// Pools own what is allocated from them, everything else belongs to the dispatchable object it was
// made with.
HandleType PoolOf(HandleType type) {
  switch (type) {
    case HandleType::kDescriptorSet:
      return HandleType::kDescriptorPool;
    case HandleType::kCommandBuffer:
      return HandleType::kCommandPool;
    default:
      return HandleType::kNone;
  }
}

bool IsPool(HandleType type) { return type == HandleType::kDescriptorPool || type == HandleType::kCommandPool; }

std::string Describe(HandleType type, ObjectId id) {
  return fmt::format("{} {:#x}", kHandleTypeNames[static_cast<size_t>(type)], id);
}

}  // namespace

void CommandHandles::Begin(Options options) {
  options_ = options;
  inert_ = blocked_ = contested_ = false;
  result_ = VK_SUCCESS;
  reason_.clear();
  context_ = new_context_ = nullptr;
  parent_ = kNullObject;
  named_.clear();
  new_.clear();
  adopted_.clear();
  next_adopted_ = 0;
  lock_ = table_->Acquire();
}

bool CommandHandles::FromWire(HandleType type, ObjectId id, wire::HandleUse use, uint64_t* handle) {
  *handle = 0;
  if (!lock_.owns_lock()) lock_ = table_->Acquire();
  Object* object = nullptr;
  if (table_->IsPlausible(type, id)) {
    object = table_->Find(lock_, id);
  } else if (use != wire::HandleUse::kIgnorable) {
    return false;
  }
  if (object == nullptr || object->type != type || object->state == ObjectState::kFailed) {
    Dead(type, id, use, object);
    return true;
  }
  named_.push_back(id);
  if (!options_.resumed && IsHeld(*object)) blocked_ = true;
  if (object->state == ObjectState::kPending) {
    blocked_ = true;
    return true;
  }
  if (object->context != nullptr && context_ == nullptr && IsDispatchable(type)) {
    context_ = object->context;
    parent_ = id;
  }
  contested_ |= object->pins != 0;
  *handle = object->handle;
  return true;
}

bool CommandHandles::IsHeld(const Object& object) {
  if (!table_->any_held(lock_)) return false;
  if (object.holds != 0) return true;
  if (object.type != HandleType::kCommandBuffer) return false;
  const Object* pool = table_->Find(lock_, object.owner);
  return pool != nullptr && pool->holds != 0;
}

void CommandHandles::Dead(HandleType type, ObjectId id, wire::HandleUse use, const Object* object) {
  if (object != nullptr) named_.push_back(id);
  if (use == wire::HandleUse::kIgnorable) return;
  if (options_.destroys && !IsPool(type) && !IsDispatchable(type)) return;
  if (inert_) return;
  inert_ = true;
  if (object != nullptr) {
    result_ = static_cast<VkResult>(object->result);
    reason_ = fmt::format("{} could not be created ({})", Describe(type, id), object->result);
  } else {
    result_ = VK_ERROR_DEVICE_LOST;
    reason_ = fmt::format("{} does not exist", Describe(type, id));
  }
}

bool CommandHandles::NewIds(HandleType type, const ObjectId* ids, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    if (ids[i] == kNullObject) continue;  // nothing is wanted for this element
    if (!table_->IsPlausible(type, ids[i])) return false;
    new_.push_back({type, ids[i]});
  }
  return true;
}

ObjectId CommandHandles::ToWire(HandleType type, uint64_t handle) const {
  if (IsDispatchable(type)) {
    if (lock_.owns_lock()) return table_->IdOf(lock_, type, handle);
    const HandleTable::Lock lock = table_->Acquire();
    return table_->IdOf(lock, type, handle);
  }
  // What the command made, usually asked for in the order of making. Drivers may give equal handles
  // to equal objects.
  for (size_t i = 0; i < adopted_.size(); ++i) {
    const auto& [made, id] = adopted_[(next_adopted_ + i) % adopted_.size()];
    if (made != handle) continue;
    next_adopted_ += i + 1;
    return id;
  }
  return kNullObject;
}

ObjectId CommandHandles::Named(HandleType type) const {
  const auto found =
      std::find_if(named_.begin(), named_.end(), [&](ObjectId id) { return table_->TypeOfPeer(id) == type; });
  return found == named_.end() ? kNullObject : *found;
}

Object* CommandHandles::AddOrFind(const HandleTable::Lock& lock, HandleType type, ObjectId id) {
  if (Object* object = table_->Find(lock, id)) return object->state == ObjectState::kPending ? object : nullptr;
  if (!table_->IsPlausible(type, id)) return nullptr;
  ObjectId owner = Named(PoolOf(type));
  if (owner == kNullObject) owner = parent_;
  const void* context = new_context_ != nullptr ? new_context_ : context_;
  return table_->Add(lock, type, id, owner, IsDispatchable(type) ? context : nullptr);
}

void CommandHandles::AdoptOne(HandleType type, ObjectId id, uint64_t handle) {
  if (handle == 0) return;  // Finish() sees to it
  const HandleTable::Lock lock = table_->Acquire();
  Object* object = AddOrFind(lock, type, id);
  if (object == nullptr) return;
  const bool first = IsDispatchable(type) && table_->IdOf(lock, type, handle) == kNullObject;
  table_->SetLive(lock, object, handle, first);
  adopted_.emplace_back(handle, id);
}

void CommandHandles::Forget(HandleType type, ObjectId id) {
  const HandleTable::Lock lock = table_->Acquire();
  if (table_->IsPlausible(type, id)) table_->Forget(lock, id);
}

void CommandHandles::ForgetChildrenOf(ObjectId owner, HandleType type) {
  const HandleTable::Lock lock = table_->Acquire();
  table_->ForgetChildren(lock, owner, type);
}

void CommandHandles::ForgetFailed() {
  const HandleTable::Lock lock = table_->Acquire();
  for (const ObjectId id : named_) {
    const Object* object = table_->Find(lock, id);
    if (object != nullptr && object->state == ObjectState::kFailed) table_->Forget(lock, id);
  }
}

std::vector<ObjectId> CommandHandles::EnterPending() {
  const HandleTable::Lock lock = table_->Acquire();
  for (const NewObject& object : new_) AddOrFind(lock, object.type, object.id);
  std::vector<ObjectId> pinned;
  for (const ObjectId id : named_) {
    if (IsDispatchable(table_->TypeOfPeer(id))) continue;
    table_->Pin(lock, id);
    pinned.push_back(id);
  }
  return pinned;
}

std::vector<ObjectId> CommandHandles::OrderKeys() {
  const HandleTable::Lock lock = table_->Acquire();
  std::vector<ObjectId> keys;
  for (const ObjectId id : named_) {
    const Object* object = table_->Find(lock, id);
    if (object == nullptr) continue;
    const bool of_pool = object->type == HandleType::kCommandBuffer && object->owner != kNullObject;
    keys.push_back(of_pool ? object->owner : id);
  }
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  return keys;
}

void CommandHandles::Finish(bool replied, VkResult result) {
  if (new_.empty()) return;
  const VkResult failure = result < 0 ? result : VK_ERROR_INITIALIZATION_FAILED;
  const HandleTable::Lock lock = table_->Acquire();
  for (const NewObject& made : new_) {
    Object* object = table_->Find(lock, made.id);
    if (object != nullptr && object->state != ObjectState::kPending) continue;
    if (replied) {
      table_->Forget(lock, made.id);
    } else if ((object = AddOrFind(lock, made.type, made.id)) != nullptr) {
      table_->SetFailed(lock, object, failure);
    }
  }
}

}  // namespace vesper::server
