// One client's session: reads its messages, decodes and executes its commands against the driver,
// and answers. Runs in a worker process, or in a test's thread over a loopback channel.
#pragma once

#include <vulkan/vulkan.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "generated/server/commands.h"
#include "generated/vk/commands.h"
#include "runtime/channel.h"
#include "runtime/handle_table.h"
#include "runtime/handshake.h"
#include "runtime/wire/control.h"
#include "runtime/wire/record.h"
#include "server/command_run.h"
#include "server/debug_messages.h"
#include "server/device.h"
#include "server/driver.h"
#include "server/events.h"
#include "server/job_pool.h"
#include "server/limits.h"
#include "server/memory.h"
#include "server/outbox.h"
#include "server/translation.h"

namespace vesper::server {

struct SessionStats {
  std::atomic<uint64_t> messages = 0;
  std::atomic<uint64_t> commands = 0;
  std::atomic<uint64_t> replies = 0;
  std::atomic<uint64_t> inert = 0;
  std::atomic<uint64_t> slow = 0;
};

// Threading: everything is called by the thread that runs the session, unless it says otherwise.
class Session {
 public:
  // `driver` outlives the session.
  Session(std::unique_ptr<Channel> channel, Driver* driver, uint64_t number, const SessionLimits& limits = {});
  // Ends the queues' threads and the pool. Objects that the client left stay with the driver: its
  // process ends them.
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Greets the client. False, with a sentence, when there will be no session.
  bool Greet(std::string* error);
  // Serves until the session ends; returns why, for the log. After Greet().
  std::string Run();
  // From any thread: makes Run() end.
  void Stop() { channel_->Close(); }

  const SessionStats& stats() const { return stats_; }
  // One line about the whole session, after Run().
  std::string Summary();

  // For generated code and overrides, on whichever thread executes the command at hand.
  CommandHandles& handles();
  CommandRun& run();
  // The command that the calling thread executes, or nullptr.
  static const CommandRun* current();
  const DispatchContext& context();
  Device& device() { return *context().device; }
  Instance& instance() { return *context().instance; }

  Driver& driver() { return *driver_; }
  Events& events() { return events_; }           // any thread
  MemoryTable& memories() { return memories_; }  // any thread
  HandleTable& objects() { return table_; }      // any thread
  DebugMessages& debug_messages() { return debug_messages_; }

  // Whether the CPU looks for what the GPU wrote to memory that the client has mapped: false where
  // both map the same memory.
  bool reads_mapped_memory() const { return true; }

  // For overrides, on whichever thread executes the command at hand. Keeps its arguments for as
  // long as the pointer lives.
  std::shared_ptr<CommandRun> KeepRun();
  // The same, and whoever keeps the run calls SendReply() when it is done: no reply is sent before.
  std::shared_ptr<CommandRun> DeferReply();
  // From any thread.
  void SendReply(CommandRun& run);
  // Whether the client takes descriptors of memory with replies.
  bool shares_memory() const { return shares_memory_; }

  // Waits for the pool and for all that waits for it. Before devices and instances go.
  void DrainJobs();
  Instance* AddInstance(std::unique_ptr<Instance> instance);
  void RemoveInstance(VkInstance instance);
  Device* AddDevice(std::unique_ptr<Device> device);
  std::vector<Device*> DevicesOf(const Instance* instance);
  // Waits for its work, destroys the driver's device; the object stays until the next command,
  // since the one at hand still names it.
  void EndDevice(Device* device);

 private:
  struct Record {
    wire::RecordHeader header;
    std::span<const uint8_t> body;
    uint64_t sequence;
  };
  // These return false when the session must end, having set end_reason_.
  bool Execute(const Message& message);
  bool ExecuteControl(const Record& record);
  bool ExecuteCommand(const Record& record);
  bool Malformed(std::string what);
  bool Exceeded(std::string what);

  bool Decode(CommandRun* run, std::span<const uint8_t> body, CommandHandles::Options options);
  void Invoke(CommandRun* run);
  void Skip(CommandRun* run);  // of a command that is inert
  void Answer(uint64_t sequence, wire::ReplyKind kind, VkResult result);
  void Lose(const CommandRun& run, const std::string& why);
  void ReportFailure(const CommandRun& run, VkResult result);

  // Slow commands, and those that wait for them (server/slow_commands.cpp).
  void StartSlow(const std::shared_ptr<CommandRun>& run);
  // `unparked`: the count when the command began to be decoded.
  void Park(const Record& record, uint64_t unparked);
  void HoldOrder(CommandRun* run, bool submit);
  // The command's pins are taken: it is in flight until Unpark().
  void Enter(const std::shared_ptr<CommandRun>& run);
  void Unpark(const std::shared_ptr<CommandRun>& run);
  void RunParked();
  bool IsReady(const CommandRun& run, const std::unordered_set<ObjectId>& held);
  void Resume(const std::shared_ptr<CommandRun>& run);

  const std::unique_ptr<Channel> channel_;
  Driver* const driver_;
  const uint64_t number_;
  const SessionLimits limits_;
  std::string program_;
  Translation translation_;
  SessionStats stats_;
  std::string end_reason_;
  bool orderly_ = false;
  bool shares_memory_ = false;

  std::atomic<size_t> queued_bytes_ = 0;  // of runs that somebody keeps
  HandleTable table_;
  Outbox outbox_;
  Events events_;
  MemoryTable memories_;
  DebugMessages debug_messages_;
  std::shared_ptr<CommandRun> run_;
  wire::ByteBuffer reply_;
  std::unordered_map<VkInstance, std::unique_ptr<Instance>> instances_;
  std::unordered_map<VkDevice, std::unique_ptr<Device>> devices_;
  std::vector<std::unique_ptr<Device>> retired_devices_;
  std::vector<std::unique_ptr<Instance>> retired_instances_;
  std::mutex parked_mutex_;
  std::condition_variable parked_changed_;
  std::vector<std::shared_ptr<CommandRun>> parked_;            // in the order of issue
  std::unordered_set<std::shared_ptr<CommandRun>> in_flight_;  // parked, or on the pool
  size_t parked_bytes_ = 0;
  bool parked_run_ = false;             // a thread goes through them
  bool parked_again_ = false;           // and has to look once more
  std::atomic<uint64_t> unparked_ = 0;  // how often something that others may wait for has ended
  JobPool pool_;
};

}  // namespace vesper::server
