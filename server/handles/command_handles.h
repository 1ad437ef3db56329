// What one command has to do with handles: the ids it names become driver handles while it is
// decoded, the objects it makes and destroys are entered and forgotten after it ran. Generated
// server code and overrides reach it by Session::handles().
#pragma once

#include <vulkan/vulkan.h>

#include <cstring>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "generated/vk/commands.h"
#include "runtime/handle_table.h"
#include "runtime/wire/handle_mapper.h"
#include "server/handles/named_facts.h"

namespace vesper::server {

// Whether a command that waits changes the object, or the pool that it is a command buffer of.
bool IsHeld(HandleTable* table, const HandleTable::Lock& lock, const Object& object);

// One per thread that executes commands, used for one command after the other; not thread-safe
// itself.
class CommandHandles final : public wire::HandleMapper {
 public:
  struct Options {
    bool destroys = false;  // dead ids among what is destroyed are nulls, not errors
    bool whole = false;     // command buffers that lack commands make it inert
    bool checked = false;   // what is known of the objects will be asked for
    bool resumed = false;   // it has waited its turn: what others hold is none of its business
  };

  explicit CommandHandles(HandleTable* table) : table_(table) {}
  ~CommandHandles() override = default;

  // Starts a command; the table stays locked until EndDecoding().
  void Begin(Options options);
  void EndDecoding() { lock_ = {}; }

  // wire::HandleMapper
  ObjectId ToWire(HandleType type, uint64_t handle) const override;
  bool FromWire(HandleType type, ObjectId id, wire::HandleUse use, uint64_t* handle) override;
  bool NewIds(HandleType type, const ObjectId* ids, uint32_t count) override;
  bool IsEnabled(uint16_t needs) const override;

  // What decoding found.
  bool inert() const { return inert_; }
  bool blocked() const { return blocked_; }      // something is pending, or held by a command that waits
  bool contested() const { return contested_; }  // something is pinned by a job
  VkResult result() const { return result_; }    // of the failed object that made it inert
  bool failed() const { return failed_; }        // it is inert since an object could not be made
  bool lacking() const { return lacking_; }      // or since a command buffer lacks commands
  const std::string& reason() const { return reason_; }
  // What is wrong with the ids of the objects that it makes, or "".
  const std::string& refused() const { return refused_; }
  // How to call the driver: of the first dispatchable object that the command names, nullptr when
  // it names none.
  const void* context() const { return context_; }
  ObjectId first_dispatchable() const { return parent_; }
  // The object of that type that the command named first, or kNullObject.
  ObjectId Named(HandleType type) const;
  const std::vector<ObjectId>& named() const { return named_; }
  // Whether it is recorded, and names query pools or command buffers that may.
  bool records_queries() const { return command_buffers_ + query_pools_ > 1 && command_buffers_ != 0; }

  // What is known of the objects that the command names, for options `checked`. While it is being decoded.
  const NamedFacts& facts() const { return facts_; }
  // Later: calls `use` with what is known of the object behind a handle that the command named, if there still is one.
  template <typename H, typename Use>
  void WithFacts(HandleType type, H handle, Use use) const {
    const ObjectId id = facts_.IdOf(type, handle);
    if (id == kNullObject) return;
    const HandleTable::Lock lock = table_->Acquire();
    const Object* object = table_->Find(lock, id);
    if (object != nullptr && object->facts != nullptr) use(object->facts);
  }
  void Remember(ObjectId id, std::unique_ptr<ObjectFacts> facts);
  // The command is not to run, though nothing about it is malformed.
  void MakeInert(std::string reason, VkResult result = VK_ERROR_DEVICE_LOST);

  // Calls of generated code after the driver's: `handles[i]` is what the driver made for `ids[i]`,
  // null for a failure. A dispatchable object that the driver returned before has both ids;
  // ToWire() gives the first.
  template <typename H>
  void Adopt(HandleType type, const ObjectId* ids, const H* handles, uint32_t count) {
    if (ids == nullptr || handles == nullptr) return;
    for (uint32_t i = 0; i < count; ++i) AdoptOne(type, ids[i], RawHandle(handles[i]));
  }
  void Forget(HandleType type, ObjectId id);

  // For overrides: the dispatch context that what the command makes will have instead of its
  // parent's.
  void set_new_context(const void* context) { new_context_ = context; }
  // Forgets the objects of `type` that the named object owns, as pool resets do.
  void ForgetChildrenOf(ObjectId owner, HandleType type);

  // For commands that continue elsewhere: enters the new objects as pending.
  void EnterPending();
  // What must outlive the command: what it names, but dispatchable objects.
  std::vector<ObjectId> Pinnable() const;
  // What orders the command among those that wait: the objects that it names, a command buffer
  // standing for its pool, whose access the application synchronizes.
  std::vector<ObjectId> OrderKeys() const;
  // Ends the command: new objects that were not adopted become tombstones with `result`, or were
  // never there when the client knows from a reply.
  void Finish(bool replied, VkResult result);
  // Destroying a tombstone is silent: forgets those that the command names.
  void ForgetFailed();

  struct NewObject {
    HandleType type;
    ObjectId id;
  };
  const std::vector<NewObject>& new_objects() const { return new_; }

 private:
  void AdoptOne(HandleType type, ObjectId id, uint64_t handle);
  bool IsFree(ObjectId id) const;
  Object* AddOrFind(const HandleTable::Lock& lock, HandleType type, ObjectId id);
  void Lacking(ObjectId id, const Object& object);
  // Notes why the command must not run, unless its place lets the id be null.
  void Dead(HandleType type, ObjectId id, wire::HandleUse use, const Object* object);

  HandleTable* const table_;
  HandleTable::Lock lock_;
  Options options_;
  bool inert_ = false;
  bool blocked_ = false;
  bool contested_ = false;
  bool failed_ = false;
  bool lacking_ = false;
  VkResult result_ = VK_SUCCESS;
  std::string reason_;
  std::string refused_;
  const void* context_ = nullptr;
  const void* new_context_ = nullptr;
  ObjectId parent_ = kNullObject;
  uint32_t command_buffers_ = 0;  // that it names
  uint32_t query_pools_ = 0;
  std::vector<ObjectId> named_;
  NamedFacts facts_;
  std::vector<NewObject> new_;
  std::vector<std::pair<uint64_t, ObjectId>> adopted_;
  mutable size_t next_adopted_ = 0;
};

}  // namespace vesper::server
