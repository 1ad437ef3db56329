#include "server/handles/command_handles.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>

#include "server/device/device.h"

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

bool IsHeld(HandleTable* table, const HandleTable::Lock& lock, const Object& object) {
  if (!table->any_held(lock)) return false;
  if (object.holds != 0) return true;
  if (object.type != HandleType::kCommandBuffer) return false;
  const Object* pool = table->Find(lock, object.owner);
  return pool != nullptr && pool->holds != 0;
}

void CommandHandles::Begin(Options options) {
  options_ = options;
  inert_ = blocked_ = contested_ = failed_ = lacking_ = false;
  result_ = VK_SUCCESS;
  reason_.clear();
  refused_.clear();
  context_ = new_context_ = nullptr;
  parent_ = kNullObject;
  command_buffers_ = query_pools_ = 0;
  named_.clear();
  facts_.Clear();
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
  command_buffers_ += type == HandleType::kCommandBuffer ? 1 : 0;
  query_pools_ += type == HandleType::kQueryPool ? 1 : 0;
  if (!options_.resumed && IsHeld(table_, lock_, *object)) blocked_ = true;
  if (object->state == ObjectState::kPending) {
    blocked_ = true;
    return true;
  }
  if (object->context != nullptr && context_ == nullptr && IsDispatchable(type)) {
    context_ = object->context;
    parent_ = id;
  }
  contested_ |= object->pins != 0;
  if (object->result != 0 && options_.whole && !inert_) Lacking(id, *object);
  if (options_.checked && object->facts != nullptr) facts_.Add(type, object->handle, id, object->facts);
  *handle = object->handle;
  return true;
}

void CommandHandles::Dead(HandleType type, ObjectId id, wire::HandleUse use, const Object* object) {
  if (object != nullptr) named_.push_back(id);
  if (use == wire::HandleUse::kIgnorable) return;
  if (options_.destroys && !IsPool(type) && !IsDispatchable(type)) return;
  if (inert_) return;
  inert_ = true;
  if (object != nullptr) {
    failed_ = true;
    result_ = static_cast<VkResult>(object->result);
    reason_ = fmt::format("{} could not be created ({})", Describe(type, id), object->result);
  } else {
    result_ = VK_ERROR_DEVICE_LOST;
    reason_ = fmt::format("{} does not exist", Describe(type, id));
  }
}

void CommandHandles::Lacking(ObjectId id, const Object& object) {
  inert_ = lacking_ = true;
  result_ = static_cast<VkResult>(object.result);
  reason_ = fmt::format("{} lacks commands, since what they use could not be made ({})", Describe(object.type, id),
                        object.result);
}

bool CommandHandles::NewIds(HandleType type, const ObjectId* ids, uint32_t count) {
  if (!lock_.owns_lock()) lock_ = table_->Acquire();
  std::vector<uint32_t> slots;
  for (uint32_t i = 0; i < count; ++i) {
    if (ids[i] == kNullObject) continue;  // nothing is wanted for this element
    if (!table_->IsPlausible(type, ids[i])) return false;
    // Asked before the driver: what takes the slot of a living object could not be limited, or ever be destroyed.
    if (!options_.resumed && !IsFree(ids[i])) {
      refused_ = fmt::format("{} is for the place of an object that was not destroyed", Describe(type, ids[i]));
      return false;
    }
    new_.push_back({type, ids[i]});
    if (count > 1) slots.push_back(SlotOf(ids[i]));
  }
  std::sort(slots.begin(), slots.end());
  return std::adjacent_find(slots.begin(), slots.end()) == slots.end();
}

// A client uses a slot again once it has asked for the destruction of what is there, which may still wait, or of the pool that
// this is from.
bool CommandHandles::IsFree(ObjectId id) const {
  if (!table_->IsNew(lock_, id)) return false;
  const Object* there = table_->Holder(lock_, id);
  if (there == nullptr || there->state == ObjectState::kFailed || there->outlives_id) return true;
  const Object* pool = table_->Find(lock_, there->owner);
  if (pool == nullptr || PoolOf(there->type) != pool->type) return false;
  return pool->outlives_id || (pool->holds != 0 && there->type == HandleType::kDescriptorSet);  // resets free sets, too
}

void CommandHandles::Remember(ObjectId id, std::unique_ptr<ObjectFacts> facts) {
  const HandleTable::Lock lock = table_->Acquire();
  table_->SetFacts(lock, id, std::move(facts));
}

void CommandHandles::MakeInert(std::string reason, VkResult result) {
  if (inert_) return;
  inert_ = true;
  result_ = result;
  reason_ = std::move(reason);
}

// Before the first object is known that says what was enabled, all that is offered may be used.
bool CommandHandles::IsEnabled(uint16_t needs) const {
  const auto* context = static_cast<const DispatchContext*>(context_);
  return context == nullptr ? needs != wire::kNotOffered : context->enabled[needs];
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

void CommandHandles::EnterPending() {
  if (new_.empty()) return;
  const HandleTable::Lock lock = table_->Acquire();
  for (const NewObject& object : new_) AddOrFind(lock, object.type, object.id);
}

std::vector<ObjectId> CommandHandles::Pinnable() const {
  std::vector<ObjectId> pinnable;
  std::copy_if(named_.begin(), named_.end(), std::back_inserter(pinnable),
               [this](ObjectId id) { return !IsDispatchable(table_->TypeOfPeer(id)); });
  return pinnable;
}

std::vector<ObjectId> CommandHandles::OrderKeys() const {
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
