// A client's session with a server: one connection, the ids of its objects, and what the client knows about them. One for
// each VkInstance. The spare is the session that a question asked before any instance exists has opened; the next
// vkCreateInstance adopts it. docs/architecture.md ("Errors") says what "lost" means.
#pragma once

#include <vulkan/vulkan.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "client/base/ids.h"
#include "client/base/statistics.h"
#include "client/connection/connection.h"
#include "client/memory/near_pictures.h"
#include "client/objects/object.h"
#include "client/session/call.h"
#include "client/session/messages.h"
#include "client/session/recipes.h"
#include "client/session/verdicts.h"
#include "runtime/handshake.h"
#include "runtime/mutex.h"

namespace vesper::client {

class Session final : private EventHandler, public MemoryLink {
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
  std::shared_ptr<LaterReply> AskLater(Command command, const void* args, When when = When::kNow) noexcept;
  bool Finish(Command command, const LaterReply& later, void* args) noexcept;
  // Asks as part of a trip, which leaves with what is sent next.
  std::shared_ptr<LaterReply> AskWith(const std::shared_ptr<Trip>& trip, Command command, const void* args) noexcept;
  // The same for what AskCached() will want.
  void AskAhead(const std::shared_ptr<Trip>& trip, Command command, const void* args) noexcept;
  // Waits for an answer, of that command for the statistics; false when there is none.
  bool Await(Command command, const LaterReply& later) noexcept;
  // The objects are made by this command; `args` without their ids says of what.
  void NoteRecipe(Command command, const void* args, std::span<const uint64_t> ids) noexcept;
  // Equal for requests that differ only in the ids of what they make, which are `made`; 0 when memory is exhausted.
  uint64_t DigestOf(Command command, const void* args, std::span<const uint64_t> made) noexcept;
  // Asks for a control record; true when the reply has come.
  bool AskControl(wire::Control control, const void* body, size_t size) noexcept override;
  bool AwaitRoom() noexcept { return connection_.AwaitRoom(); }
  bool AwaitBulkRoom() noexcept override { return connection_.AwaitBulkRoom(); }
  uint64_t line_rate() const noexcept override { return connection_.channel().line_rate(); }
  bool PostControl(wire::Control control, const void* body, size_t size) noexcept override;
  // Sends what was recorded into a command buffer, counting it, and empties the buffer.
  void SendRecords(CommandBuffer* buffer) noexcept;

  Connection& connection() { return connection_; }
  Ids& ids() { return ids_; }
  States& states() { return states_; }
  Statistics& statistics() noexcept override { return *statistics_; }
  bool lost() const noexcept override { return connection_.lost(); }
  // Whether allocations that the host sees may come as memory of both ends.
  bool shares_memory() const noexcept { return shares_memory_; }
  bool abandoned() const noexcept override { return connection_.abandoned(); }
  void MarkLost(std::string_view why) noexcept override { connection_.MarkLost(why); }
  bool PostRecords(std::span<const uint8_t> records) noexcept {
    return connection_.PostRecords(records) == Connection::Posted::kOk;
  }
  bool PostMemory(wire::ByteBuffer* records) noexcept override {
    const bool small = records->size() < limits::kBatchBytes;
    return (small ? connection_.PostRecords({records->data(), records->size()}) : connection_.PostBatch(records)) ==
           Connection::Posted::kOk;
  }
  void StartPulse() noexcept override { connection_.StartPulse(); }
  const MemoryState* FindMemory(ObjectId id) const noexcept override {
    return static_cast<const MemoryState*>(states_.Find(id));
  }
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
  Verdicts& verdicts() { return verdicts_; }
  // Asks for pictures nearly as they are. False when this machine cannot have them so, or the server not send them.
  bool AskForNear(const wire::PictureMemory& pictures) noexcept;
  NearPictures& near_pictures() { return near_pictures_; }

 private:
  void OnEvent(wire::EventKind kind, std::span<const uint8_t> body) override;
  void OnLost(std::string_view why) override;
  bool OnPulse() override;
  // A round trip; false, with the code to return, when there is no answer.
  bool AskOnce(Command command, const void* args, Reply* reply, VkResult* failure) noexcept;
  bool Decode(Command command, std::span<const uint8_t> body, void* args, VkResult* failure) noexcept;
  wire::ByteBuffer QuestionOf(Command command, const void* args) const;
  std::shared_ptr<LaterReply> FindAhead(std::string_view question);
  void Completed(const wire::Completed& completed);
  void Picture(std::span<const uint8_t> body);
  void MemoryChanged(std::span<const uint8_t> body);
  void DeviceLost(std::span<const uint8_t> body);
  void MemoryCreditTold(const wire::MemoryCredit& told);
  Device* NextDevice(const Device* after);

  const std::unique_ptr<Statistics> statistics_;
  const bool shares_memory_;
  Ids ids_;
  States states_;
  std::vector<bool> decoded_by_server_;  // by command; empty: all
  std::atomic<Instance*> instance_{nullptr};
  Mutex pulse_mutex_;         // held through a pulse, so that no device goes; taken before objects_mutex_
  Mutex objects_mutex_;       // taken before the memory mutex and the lane, never while sending
  uint64_t completions_ = 0;  // guarded by the lane
  std::unordered_map<ObjectId, Queue*> queues_ VESPER_GUARDED_BY(objects_mutex_);
  std::map<ObjectId, Device*> devices_ VESPER_GUARDED_BY(objects_mutex_);
  std::unordered_map<ObjectId, CommandBuffer*> command_buffers_ VESPER_GUARDED_BY(objects_mutex_);
  Recipes recipes_;
  Verdicts verdicts_;
  NearPictures near_pictures_;
  Messages messages_;
  Mutex answers_mutex_;
  ByBytes<std::vector<uint8_t>> answers_ VESPER_GUARDED_BY(answers_mutex_);
  ByBytes<std::shared_ptr<LaterReply>> ahead_ VESPER_GUARDED_BY(answers_mutex_);  // asked, and not wanted yet
  Connection connection_;                                                         // last: its thread uses the rest
};

// A live session: one that exists already, else the spare, which is connected when needed. nullptr with a line on stderr
// when no server can be reached.
std::shared_ptr<Session> AnySession() noexcept;
// The sessions for a new instance, one with each server that the program is to use and that answers, as they were named: the
// spare among them, the others fresh.
struct ServerSession {
  std::shared_ptr<Session> session;
  std::string name;    // fit for a log; empty for the spare's
  std::string server;  // its address, with secrets
};
std::vector<ServerSession> TakeSessions() noexcept;

}  // namespace vesper::client
