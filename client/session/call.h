// What generated entry points call: how one Vulkan command becomes a record of the session, and a reply its results.
// Every routine is noexcept: an entry point must never throw into the application.
#pragma once

#include <vulkan/vulkan.h>

#include <cstdint>
#include <vector>

#include "generated/vk/commands.h"
#include "runtime/object_id.h"

namespace vesper::client {

class Session;
struct Device;
struct Reply;

// The session that a dispatchable handle belongs to. The handle must be valid (the loader guarantees it).
Session& SessionOf(const void* dispatchable);

// One call of one command by one thread. `args` are the command's wire::…Args; their layout belongs to generated/wire.
class Call {
 public:
  Call(const void* dispatchable, Command command)
      : session_(SessionOf(dispatchable)), dispatchable_(dispatchable), command_(command) {}
  Call(Session& session, Command command) : session_(session), command_(command) {}
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // Gives `count` new non-dispatchable handles their ids, before the arguments are encoded. On failure the handles
  // become null and Post() and Ask() return failure().
  template <typename H>
  void Mint(HandleType type, H* handles, uint32_t count) noexcept {
    static_assert(sizeof(H) == sizeof(uint64_t));
    MintIds(type, reinterpret_cast<uint64_t*>(handles), count);
  }

  // For minted objects about which questions will be remembered by what they are made of (policy `remember`): `args` as
  // they will be sent, but without the new handles.
  void NoteRecipe(const void* args) noexcept;

  // Queues the command without waiting; what it changes is seen by every later command of the session. VK_SUCCESS, or
  // failure() when the session is lost or memory is exhausted; minted ids are then returned and their handles null.
  VkResult Post(const void* args) noexcept;

  // Sends the command with everything queued before it and waits for its reply, which is decoded into `args`. False when
  // there is none: every output in `args` is then zero, every count 0, and the caller returns failure(). A blocking wait may be ended early by loss of the server. `reply`, if
  // given, gets what came beside the results.
  bool Ask(void* args, Reply* reply = nullptr) noexcept;

  // Ask() for commands whose answer to equal arguments never changes (policy `cache`): the session remembers the encoded
  // reply by the encoded request, objects counting by what they are made of: only the first call of each kind is a round
  // trip.
  bool AskCached(void* args) noexcept;

  // For slow creations: whether the caller, a thread that has not submitted while others have, does them aside. It goes on
  // when they have ended, as with a local driver, so that nothing is used by those others before. May only wait where
  // another thread's frames would wait otherwise. Also when an equal creation has failed. After Mint().
  bool Aside(const void* args) noexcept;

  // After Ask() returned true, for commands that make objects: gives back the ids of handles that the server did not
  // make, sets them to null, and returns `result`.
  VkResult Settle(VkResult result) noexcept;

  // What to return when the command could not be carried out: a code that the command lists, VK_ERROR_DEVICE_LOST where
  // possible.
  VkResult failure() const { return failure_; }

  // The object behind `handle` is gone; call it after the destroying command was posted. Null handles are ignored.
  template <typename H>
  void Forget(HandleType type, H handle) noexcept {
    static_assert(sizeof(H) == sizeof(uint64_t));
    uint64_t id;
    __builtin_memcpy(&id, &handle, sizeof(id));
    ForgetId(type, id);
  }

  Session& session() { return session_; }

 private:
  void MintIds(HandleType type, uint64_t* handles, uint32_t count) noexcept;
  void ForgetId(HandleType type, uint64_t id) noexcept;
  void ReturnMinted() noexcept;
  bool Unanswered(void* args) noexcept;
  VkResult Listed(VkResult result) const noexcept;

  Session& session_;
  const void* const dispatchable_ = nullptr;
  const Command command_;
  VkResult failure_ = VK_SUCCESS;
  uint64_t* minted_ = nullptr;
  uint32_t minted_count_ = 0;
  bool awaits_verdict_ = false;
  uint64_t request_ = 0;              // its digest
  std::vector<uint64_t> minted_ids_;  // what minted_ held before the reply was decoded into it
};

// Ahead of commands that the device or the server's CPU reads mapped memory for (policy `memory`): sends what the application
// wrote. `accesses`: the command may also write memory.
void UploadMappedMemory(VkDevice handle, bool accesses) noexcept;
// Ahead of what could be told apart from uploads whose fence was answered (client/objects/uploads.h): they are submitted, and
// waited for. Defined by client/overrides/uploads.cpp.
void AwaitUploads(Device* device) noexcept;
// Ahead of commands that bind memory in a way that client/memory does not follow: the device may write any memory then.
void NoteUnknownBinding(VkDevice handle) noexcept;

// Writes one vkCmd* into the command buffer's own memory; no lock. Failures surface at vkEndCommandBuffer.
void Record(VkCommandBuffer command_buffer, Command command, const void* args) noexcept;
// The same for a command of values and handles, whose body is always of `size` bytes: where the caller stores them, before the
// next call, or nullptr.
[[nodiscard]] uint8_t* RecordFixed(VkCommandBuffer command_buffer, Command command, uint32_t size) noexcept;
// The ids in such a body.
struct RequestIds {
  template <typename H>
  static ObjectId Id(HandleType, H handle) {
    static_assert(sizeof(H) == sizeof(ObjectId));
    ObjectId id;
    __builtin_memcpy(&id, &handle, sizeof(id));
    return id;
  }
  template <typename H>
  static ObjectId DispatchableId(HandleType, H handle) {
    return handle == nullptr ? kNullObject : reinterpret_cast<const DispatchableHeader*>(handle)->id;
  }
};

// The command that is recorded next uses the pool; see client/objects/query_pool.h.
void NoteQueryPool(VkCommandBuffer command_buffer, VkQueryPool pool) noexcept;

}  // namespace vesper::client
