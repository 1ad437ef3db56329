#include "server/handles/plain_handles.h"

#include "server/device/device.h"
#include "server/handles/command_handles.h"

namespace vesper::server {

// Copies an object of which there is nothing to say. That the table has changed since the command began is one more reason to
// look again.
bool PlainHandles::Take(HandleType type, ObjectId id, uint64_t* handle) {
  if (!table_->IsPlausible(type, id)) return false;
  {
    const HandleTable::Lock lock = table_->Acquire();
    Object* object = table_->Find(lock, id);
    if (object == nullptr || object->type != type) return false;
    if (object->state != ObjectState::kLive || object->result != 0 || IsHeld(table_, lock, *object)) return false;
    table_->NoteCopied(lock, object);
    version_ = table_->version();
    const bool noted = type == HandleType::kCommandBuffer || type == HandleType::kQueryPool;
    copies_[SlotOf(id) % limits::kCopiedObjects] = {id,   version_, object->handle, object->context, object->facts,
                                                    type, noted};
  }
  return FromWire(type, id, wire::HandleUse::kRequired, handle);
}

bool PlainHandles::Change(ObjectId first, HandleType type) {
  version_ = table_->version();
  first_ = kNullObject;
  context_ = nullptr;
  facts_.Clear();
  uint64_t handle = 0;
  if (first == kNullObject || !Look(type, first, &handle)) return false;
  carried_.clear();  // it is not one of them
  first_ = first;
  first_type_ = type;
  first_version_ = version_;  // of which Look() has compared or made the copy
  first_handle_ = handle;
  context_ = static_cast<const DispatchContext*>(copies_[SlotOf(first) % limits::kCopiedObjects].context);
  kept_ = facts_.size();
  return context_ != nullptr;
}

bool PlainHandles::IsEnabled(uint16_t needs) const { return context_ != nullptr && context_->enabled[needs]; }

}  // namespace vesper::server
