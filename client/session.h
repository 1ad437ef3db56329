// A client's session with a server: one connection, the ids of its objects, and what the client knows about them. One for
// each VkInstance. The spare is the session that a question asked before any instance exists has opened; the next
// vkCreateInstance adopts it. See design.md for what "lost" means.
#pragma once

#include <vulkan/vulkan.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "client/call.h"
#include "client/connection.h"
#include "client/ids.h"
#include "client/messages.h"
#include "client/object.h"
#include "client/recipes.h"
#include "client/statistics.h"
#include "runtime/handshake.h"

namespace vesper::client {

class Session final : private EventHandler {
 public:
  // After the handshake.
  Session(std::unique_ptr<Channel> channel, const Welcome& welcome, const Timing& timing = {});
  ~Session() override;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // See Call for these; `reply` gets what came beside the results; `failure` gets the code to return when there is no answer.
  VkResult Post(Command command, const void* args) noexcept;
  bool Ask(Command command, void* args, VkResult* failure, Reply* reply = nullptr) noexcept;
  // Like Ask(), and remembers the answer: for commands whose answer to equal arguments is always the same.
  bool AskCached(Command command, void* args, VkResult* failure) noexcept;
  // Asks without waiting; Finish() decodes what came. nullptr when it cannot be asked.
  std::shared_ptr<LaterReply> AskLater(Command command, const void* args) noexcept;
  bool Finish(Command command, const LaterReply& later, void* args) noexcept;
  // The objects are made by this command; `args` without their ids says of what.
  void NoteRecipe(Command command, const void* args, std::span<const uint64_t> ids) noexcept;
  // Asks for a control record; true when the reply has come.
  bool AskControl(wire::Control control, const void* body, size_t size) noexcept;
  bool PostControl(wire::Control control, const void* body, size_t size) noexcept;
  // Sends a command buffer's records, counting them.
  bool PostRecorded(std::span<const uint8_t> records) noexcept;

  Connection& connection() { return connection_; }
  Ids& ids() { return ids_; }
  States& states() { return states_; }
  Statistics& statistics() { return *statistics_; }
  bool lost() const { return connection_.lost(); }
  bool abandoned() const { return connection_.abandoned(); }  // by a fork: take no lock of this session
  // Whether the server knows the command: false for those that only a newer client has. Commands without a number are the
  // client's alone.
  bool Decodes(Command command) const;
  // In the child of a fork.
  void Abandon() noexcept;

  // Dispatchable objects that events and replies name.
  void AddQueue(Queue* queue);
  void RemoveQueue(Queue* queue) noexcept;
  void AddDevice(Device* device);
  void RemoveDevice(Device* device) noexcept;
  // How often a submit has been seen to complete. Guarded by the lane.
  uint64_t completions() const { return completions_; }
  void SetInstance(Instance* instance) { instance_.store(instance); }
  Instance* instance() const { return instance_.load(); }
  void AddCommandBuffers(std::span<const std::unique_ptr<CommandBuffer>> buffers);
  void RemoveCommandBuffer(ObjectId id) noexcept;
  // The object behind an id as the application knows it, or nullptr.
  Dispatchable* FindDispatchable(HandleType type, ObjectId id);

  Messages& messages() { return messages_; }

 private:
  void OnEvent(wire::EventKind kind, std::span<const uint8_t> body) override;
  void OnLost(const std::string& why) override;
  bool OnPulse() override;
  // A round trip; false, with the code to return, when there is no answer.
  bool AskOnce(Command command, const void* args, Reply* reply, VkResult* failure) noexcept;
  bool Decode(Command command, std::span<const uint8_t> body, void* args, VkResult* failure) noexcept;
  void Completed(const wire::Completed& completed);
  void MemoryChanged(std::span<const uint8_t> body);
  void DeviceLost(std::span<const uint8_t> body);

  const std::unique_ptr<Statistics> statistics_;
  Ids ids_;
  States states_;
  std::vector<bool> decoded_by_server_;  // by command; empty: all
  std::atomic<Instance*> instance_{nullptr};
  std::mutex objects_mutex_;  // guards the maps; taken before the memory mutex and the lane
  uint64_t completions_ = 0;
  std::unordered_map<ObjectId, Queue*> queues_;
  std::unordered_map<ObjectId, Device*> devices_;
  Recipes recipes_;
  std::unordered_map<ObjectId, CommandBuffer*> command_buffers_;
  Messages messages_;
  std::mutex answers_mutex_;
  ByBytes<std::vector<uint8_t>> answers_;
  Connection connection_;  // last: its thread uses the rest
};

// A live session: one that exists already, else the spare, which is connected when needed. nullptr with a line on stderr
// when no server can be reached.
std::shared_ptr<Session> AnySession() noexcept;
// The session for a new instance: the spare, or a fresh one.
std::shared_ptr<Session> TakeSession() noexcept;

}  // namespace vesper::client
