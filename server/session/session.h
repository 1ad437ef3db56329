// One client's session: reads its messages, decodes and executes its commands against the driver,
// and answers. Runs in a worker process, or in a test's thread over a loopback channel.
#pragma once

#include <vulkan/vulkan.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "generated/server/commands.h"
#include "generated/vk/commands.h"
#include "runtime/arena.h"
#include "runtime/channel.h"
#include "runtime/handle_table.h"
#include "runtime/handshake.h"
#include "runtime/wire/control.h"
#include "runtime/wire/record.h"
#include "server/base/device_slot.h"
#include "server/base/job_pool.h"
#include "server/base/limits.h"
#include "server/base/meter.h"
#include "server/channel/events.h"
#include "server/channel/outbox.h"
#include "server/device/device.h"
#include "server/device/driver.h"
#include "server/handles/plain_handles.h"
#include "server/handles/translation.h"
#include "server/memory/memory.h"
#include "server/pipelines/pipeline_file.h"
#include "server/recording/lanes.h"
#include "server/session/command_run.h"
#include "server/session/debug_messages.h"
#include "server/session/query_uses.h"
#include "server/session/wait_graph.h"

namespace vesper::server {

struct SessionStats {
  std::atomic<uint64_t> messages = 0;
  std::atomic<uint64_t> commands = 0;
  std::atomic<uint64_t> replies = 0;
  std::atomic<uint64_t> inert = 0;
  std::atomic<uint64_t> slow = 0;
  std::atomic<uint64_t> rests = 0;  // how often the driver was given back
  std::atomic<uint64_t> laned = 0;  // plain commands that a lane made
  std::atomic<uint64_t> plain = 0;  // counted by the reader alone, as `commands` is

  static void Count(std::atomic<uint64_t>* of_reader, uint64_t more = 1) {
    of_reader->store(of_reader->load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
  }
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

  // Before Greet(); outlives the session. Without one, devices may be made at any time.
  void set_device_slot(DeviceSlot* slot) { slot_ = slot; }
  // The same for what is kept of pipelines from session to session. Without one, nothing is.
  void set_pipeline_shelf(PipelineShelf* shelf) { shelf_ = shelf; }
  PipelineShelf* pipeline_shelf() { return shelf_; }
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
  // Whether the client is on this machine, so that what the kernel names means the same to both.
  bool same_kernel() const { return channel_->CarriesDescriptors(); }
  // Whether the client has said that it ends.
  bool orderly() const { return orderly_; }
  // Whether the client takes the names of memory with replies.
  bool shares_memory() const { return shares_memory_; }
  bool must_share() const { return channel_->NeedsSharedMemory(); }

  // Reader: no command waits for another or runs on the pool, so that nothing is submitted but by the reader.
  bool NothingWaits();
  QueryUses& query_uses() { return query_uses_; }  // any thread

  // A session without a device whose client is silent gives back the driver's instances, and with them the libraries and
  // what they have allocated, by far most of the worker's memory; they are there again before the next command
  // (server/session/rest.cpp).
  void KeepForRest(Instance* instance, const VkInstanceCreateInfo* wanted);

  // Waits for the pool and for all that waits for it. Before devices and instances go.
  void DrainJobs();
  Instance* AddInstance(std::unique_ptr<Instance> instance);
  void RemoveInstance(VkInstance instance);
  // Before a device is made: whether this session may have one. Given back when no device is there afterwards.
  bool TakeDeviceSlot() {
    if (devices_.size() >= limits::kMaxDevices) return false;
    return !devices_.empty() || slot_ == nullptr || slot_->Take();
  }
  void ReturnDeviceSlot() {
    if (devices_.empty() && slot_ != nullptr) slot_->GiveBack();
  }
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
  uint16_t KindOf(const wire::RecordHeader& header) const;
  bool ExecuteControl(const Record& record);
  bool ExecuteCommand(const Record& record);
  // Takes plain commands from the front of `bytes`, up to the first record that is something else or of which something is to
  // be said.
  void ExecutePlainOnes(std::span<const uint8_t>* bytes);
  // Waits for recordings that the command must not run beside.
  void SettleFor(const CommandRun& run);
  bool Malformed(std::string what);
  bool Exceeded(std::string what);

  // How long until it should; kForever where there is no question of it.
  std::chrono::milliseconds UntilRest();
  bool MayRest();
  void Rest();
  bool EndRest();

  // False with a reason.
  bool Decode(CommandRun* run, std::span<const uint8_t> body, CommandHandles::Options options, std::string* error);
  void Invoke(CommandRun* run);
  void Skip(CommandRun* run);  // of a command that is inert
  // Whether the shaders that the command brings may reach the driver; false after making it inert.
  bool MayHaveShaders(CommandRun* run);
  static CommandHandles::Options OptionsOf(uint16_t command);
  void NoteRecorded(const CommandRun& run);
  void NoteLacking(const CommandRun& run);
  void Answer(uint64_t sequence, wire::ReplyKind kind, VkResult result);
  void Lose(const CommandRun& run, const std::string& why);
  void ReportFailure(const CommandRun& run, VkResult result);

  // Slow commands, and those that wait (server/session/parking.cpp).
  struct Dependencies;
  void Defer(const Record& record);
  // Any thread; the unit is ready.
  void Start(const WaitGraph::Unit& unit);
  void RunUnits(WaitGraph::Unit unit);
  void RunUnit(const WaitingUnit& unit, std::shared_ptr<CommandRun>* spare);
  std::vector<WaitGraph::Unit> EndUnit(const WaitGraph::Unit& unit);

  const std::unique_ptr<Channel> channel_;
  Driver* const driver_;
  const uint64_t number_;
  const SessionLimits limits_;
  DeviceSlot* slot_ = nullptr;
  PipelineShelf* shelf_ = nullptr;
  std::string program_;
  Translation translation_;
  SessionStats stats_;
  Meter meter_;
  uint64_t marks_ = 0;  // that were come to
  std::string end_reason_;
  bool orderly_ = false;
  bool rests_ = false;  // the driver has no instance of ours
  uint64_t commands_before_rest_ = 0;
  std::chrono::steady_clock::time_point rest_at_{};
  bool shares_memory_ = false;

  std::atomic<size_t> queued_bytes_ = 0;  // of runs that somebody keeps and records that wait
  HandleTable table_;
  Outbox outbox_;
  Events events_;
  MemoryTable memories_;
  DebugMessages debug_messages_;
  QueryUses query_uses_;
  PlainHandles plain_handles_;
  Arena plain_arena_;
  std::shared_ptr<CommandRun> run_;
  std::unordered_map<VkInstance, std::unique_ptr<Instance>> instances_;
  std::unordered_map<VkDevice, std::unique_ptr<Device>> devices_;
  std::vector<std::unique_ptr<Device>> retired_devices_;
  std::vector<std::unique_ptr<Instance>> retired_instances_;
  std::mutex waiting_mutex_;  // guards the graph and its units; taken before the table's
  WaitGraph waiting_;
  JobPool pool_;
  Lanes lanes_;
};

}  // namespace vesper::server
