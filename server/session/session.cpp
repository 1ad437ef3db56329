#include "server/session/session.h"

#include <fmt/core.h>
#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <thread>

#include "generated/wire/codecs.h"
#include "runtime/wire/decoder.h"
#include "runtime/wire/encoder.h"
#include "server/base/limits.h"
#include "server/base/log.h"
#include "server/device/shaders.h"
#include "server/memory/write_ledger.h"
#include "server/pictures/near_pictures.h"
#include "server/session/command_result.h"

namespace vesper::server {
namespace {

// The next message. Until it comes, a submit that ends at once is noticed here: nobody is woken for it.
ChannelStatus Next(Channel* channel, Message* message, std::chrono::milliseconds patience) {
  ChannelStatus status = ChannelStatus::kTimeout;
  Queue::Attend([&] {
    status = channel->Receive(message, std::chrono::milliseconds(0));
    return status != ChannelStatus::kTimeout;
  });
  return status == ChannelStatus::kTimeout ? channel->Receive(message, patience) : status;
}

thread_local CommandRun* t_run = nullptr;

size_t PoolThreads() { return std::clamp<size_t>(std::thread::hardware_concurrency(), 2, 8); }

}  // namespace

Session::Session(std::unique_ptr<Channel> channel, Driver* driver, uint64_t number, const SessionLimits& limits)
    : channel_(std::move(channel)),
      driver_(driver),
      number_(number),
      limits_(limits),
      table_(limits.objects),
      outbox_(channel_.get(), limits.unread_bytes),
      events_(&outbox_),
      memories_(&events_),
      debug_messages_(&table_, &outbox_, number, driver->options()),
      query_uses_(&table_),
      plain_handles_(&table_),
      plain_arena_(limits_.command_bytes),
      run_(std::make_shared<CommandRun>(&table_, limits_.command_bytes)),
      pool_(PoolThreads()),
      lanes_(this, &table_, limits.lanes, limits.command_bytes) {}

Session::~Session() {
  channel_->Close();
  pool_.Drain();
  for (const auto& [handle, device] : devices_) {
    device->StopQueues();
    if (!device->lost()) device->pipelines().End();
  }
  for (const auto& [handle, instance] : instances_) debug_messages_.End(instance.get());
}

bool Session::Greet(std::string* error) {
  Hello hello;
  if (!ReceiveHello(*channel_, &hello, error)) return false;
  const auto refuse = [&](std::string why) {
    SendRefused(*channel_, why);
    *error = std::move(why);
    return false;
  };
  if (hello.protocol != kProtocolVersion) {
    return refuse(fmt::format("protocol {} of the client, {} of the server: update the older one", hello.protocol,
                              kProtocolVersion));
  }
  if (hello.resume.session != 0) return refuse("the session that it resumes is another's");
  Welcome welcome;
  welcome.fingerprint = kRegistryFingerprint;
  welcome.session = number_;
  welcome.max_objects = limits_.objects - 1;  // slot 0 is none
  welcome.validation = driver_->options().validation;
  if (hello.fingerprint != kRegistryFingerprint) {
    welcome.names_wanted = hello.commands.empty();
    welcome.commands = DecodedCommands();
    welcome.handle_types = DecodedHandleTypes();
    if (welcome.names_wanted) {
      if (!SendWelcome(*channel_, welcome)) return refuse("the client went away");
      if (!ReceiveHello(*channel_, &hello, error)) return false;
      if (hello.commands.empty()) return refuse("the client's registry differs and it did not say its names");
      welcome.names_wanted = false;
    }
    translation_ = Translation(hello.commands, hello.handle_types);
    table_.TranslateTypes(translation_.handle_types());
  }
  welcome.ring = hello.ring && channel_->OffersRing();
  const bool can_name = channel_->CarriesDescriptors() || (channel_->NamesPlaces() && (welcome.ring || must_share()));
  shares_memory_ = welcome.shares_memory = hello.shares_memory && can_name;
  std::string unknown;
  welcome.compression =
      hello.compression != Compression::kOff && WantedCompression(*channel_, &unknown) != Compression::kOff;
  welcome.answers_marks = true;
  if (hello.resumes_for.count() != 0 && channel_->OffersResume() && limits_.resume_for.count() != 0 &&
      getrandom(welcome.secret.data(), welcome.secret.size(), 0) == static_cast<ssize_t>(welcome.secret.size())) {
    welcome.resume_for = limits_.resume_for;
  }
  program_ = hello.program;
  debug_messages_.ForwardValidation(hello.validation);
  if (!SendWelcome(*channel_, welcome, hello.compression)) return refuse("the client went away");
  // It could not map memory of ours: between us may be a relay that passes no descriptors.
  if (welcome.ring && !channel_->PollsForNothing()) shares_memory_ = false;
  Log(LogLevel::kInfo, "session {}: {} (pid {}, {}){}", number_, program_, hello.pid, channel_->name(),
      translation_.by_name() ? ", of another registry" : "");
  return true;
}

std::string Session::Run() {
  Message message;
  outbox_.NoteReader();
  Queue::SetAttends(channel_->PollsForNothing(), must_share());
  while (end_reason_.empty()) {
    switch (Next(channel_.get(), &message, UntilRest())) {
      case ChannelStatus::kTimeout:
        if (UntilRest() == std::chrono::milliseconds(0)) Rest();
        continue;
      case ChannelStatus::kClosed:
        end_reason_ = outbox_.error();
        if (end_reason_.empty()) end_reason_ = "the connection ended " + channel_->error();
        continue;
      case ChannelStatus::kMalformed:
        Malformed(channel_->error());
        continue;
      case ChannelStatus::kOk:
        break;
    }
    ++stats_.messages;
    const Working working(&outbox_);
    if (message.payload.size() > limits_.message_bytes) {
      Exceeded(
          fmt::format("a message of {} bytes; --max-message allows {}", message.payload.size(), limits_.message_bytes));
      continue;
    }
    try {
      if (message.kind == MessageKind::kBatch) {
        Execute(message);
      } else if (message.kind == MessageKind::kGoodbye) {
        orderly_ = true;
        end_reason_ = "the client said goodbye";
      } else {
        Malformed(fmt::format("a message of kind {}", static_cast<int>(message.kind)));
      }
    } catch (const std::bad_alloc&) {
      end_reason_ = "the server has no memory left";
    }
  }
  Queue::SetAttends(false);
  if (!orderly_) {
    outbox_.Send(MessageKind::kGoodbye, 0, {reinterpret_cast<const uint8_t*>(end_reason_.data()), end_reason_.size()});
    outbox_.Flush(limits::kLastFlush);
  }
  channel_->Close();
  return end_reason_;
}

bool Session::Malformed(std::string what) {
  end_reason_ = "malformed: " + std::move(what);
  Log(LogLevel::kError, "session {}: {}", number_, end_reason_);
  return false;
}

bool Session::Exceeded(std::string what) {
  end_reason_ = "over its limits: " + std::move(what);
  Log(LogLevel::kError, "session {}: {}", number_, end_reason_);
  return false;
}

// What the meter knows the record by.
uint16_t Session::KindOf(const wire::RecordHeader& header) const {
  const uint16_t command = translation_.Command(header.command);
  return command < kCommandCount && kServerCommands[command].is_recorded() ? wire::kRecordings : header.command;
}

bool Session::Execute(const Message& message) {
  std::span<const uint8_t> bytes = message.payload;
  uint64_t sequence = message.sequence;
  Record record{};
  table_.DropRetired();
  Queue::LeaveAttended();  // commands come first
  while (true) {
    ExecutePlainOnes(&bytes);
    if (bytes.empty()) break;
    if (!wire::NextRecord(&bytes, &record.header, &record.body)) {
      return Malformed(fmt::format("a batch ends within a record, {} bytes before its end", bytes.size()));
    }
    record.sequence = sequence;
    meter_.Begin(KindOf(record.header), record.body.size());
    if ((record.header.flags & wire::kWantsReply) != 0) ++sequence;
    const bool control = record.header.command >= static_cast<uint16_t>(wire::Control::kHeartbeat);
    if (!(control ? ExecuteControl(record) : ExecuteCommand(record))) return false;
    if (!bytes.empty()) Queue::LeaveAttended();
  }
  lanes_.Post();
  meter_.Stop();
  return true;
}

bool Session::ExecuteControl(const Record& record) {
  const auto control = static_cast<wire::Control>(record.header.command);
  std::string error;
  switch (control) {
    case wire::Control::kHeartbeat:
      break;
    case wire::Control::kMark:
      events_.Progress(++marks_, meter_.TakeChanged());
      break;
    case wire::Control::kMemoryCredit:
      if (record.body.size() >= sizeof(wire::MemoryCreditRequest)) {
        const auto request = wire::Load<wire::MemoryCreditRequest>(record.body.data());
        for (const auto& [handle, device] : devices_) {
          if (device->parts().id == request.device) device->memory_reserve().Keep(request);
        }
      }
      break;
    case wire::Control::kFrame:
      if (record.body.size() >= sizeof(wire::PresentedFrame)) {
        memories_.Presented(wire::Load<wire::PresentedFrame>(record.body.data()));
      }
      break;
    case wire::Control::kPictures:
      if (!MakesJpeg()) {
        if ((record.header.flags & wire::kWantsReply) != 0) {
          Answer(record.sequence, wire::ReplyKind::kRefused, VK_SUCCESS);
        }
        return true;
      }
      if (!memories_.Execute(control, record.body, &error)) return Malformed(std::move(error));
      break;
    case wire::Control::kMemoryMapped:
    case wire::Control::kMemoryUnmapped:
    case wire::Control::kMemoryWrite:
    case wire::Control::kMemoryFetch:
    case wire::Control::kMemoryWritable:
      if (!memories_.Execute(control, record.body, &error)) return Malformed(std::move(error));
      break;
    default:  // of a newer client; a reply says so
      if ((record.header.flags & wire::kWantsReply) != 0) {
        Answer(record.sequence, wire::ReplyKind::kRefused, VK_SUCCESS);
      }
      return true;
  }
  if ((record.header.flags & wire::kWantsReply) != 0) Answer(record.sequence, wire::ReplyKind::kAnswer, VK_SUCCESS);
  return true;
}

bool Session::ExecuteCommand(const Record& record) {
  const bool wants_reply = (record.header.flags & wire::kWantsReply) != 0;
  const uint16_t command = translation_.Command(record.header.command);
  if (command >= kCommandCount || wire::kCodecs[command].decode_request == nullptr ||
      kServerCommands[command].invoke == nullptr) {
    if (command >= kCommandCount && !translation_.by_name()) {
      return Malformed(fmt::format("command {} of {}", record.header.command, kCommandCount));
    }
    if (wants_reply) Answer(record.sequence, wire::ReplyKind::kRefused, VK_SUCCESS);
    return true;
  }
  const uint16_t needs = kServerCommands[command].needs;
  if (needs == wire::kNotOffered) {
    return Malformed(fmt::format("{} is of no extension that is offered", kCommandNames[command]));
  }
  if (rests_ && !EndRest()) return false;
  SessionStats::Count(&stats_.commands);
  CommandRun* run = run_.get();
  run->command = command;
  run->wants_reply = wants_reply;
  run->sequence = record.sequence;
  const bool slow = kServerCommands[command].slow;
  const bool after_users = kServerCommands[command].destroys_any() || kServerCommands[command].after_users;
  std::string error;
  if (!Decode(run, record.body, OptionsOf(command), &error)) return Malformed(std::move(error));
  if (needs != wire::kNeedsNothing && !run->handles.IsEnabled(needs)) {
    return Malformed(fmt::format("{} is of an extension that was not enabled", kCommandNames[command]));
  }
  if (!kServerCommands[command].alongside) SettleFor(*run);
  const bool waits = run->handles.blocked() || (after_users && run->handles.contested());
  if (slow && run->handles.inert() && !waits) {
    // At once, since what it lacks may be destroyed behind it, and with it the reason.
    Skip(run);
    if (!wants_reply) {
      for (const auto& object : run->handles.new_objects()) events_.Made(object.id, run->handles.result());
    }
  } else if (slow || waits) {
    Defer(record);
  } else if (run->handles.inert()) {
    Skip(run);
  } else {
    Invoke(run);
  }
  if (run_->kept) {
    run_ = std::make_shared<CommandRun>(&table_, limits_.command_bytes);
  } else {
    run_->arena.Reset();
  }
  if (queued_bytes_ > limits_.queued_bytes) {
    return Exceeded(fmt::format("{} bytes of work wait for their turn; --max-queued allows {}", queued_bytes_.load(),
                                limits_.queued_bytes));
  }
  retired_devices_.clear();
  retired_instances_.clear();
  return true;
}

bool Session::Decode(CommandRun* run, std::span<const uint8_t> body, CommandHandles::Options options,
                     std::string* error) {
  const wire::CommandCodec& codec = wire::kCodecs[run->command];
  const ServerCommand& command = kServerCommands[run->command];
  options.checked = command.check != nullptr || command.learns;
  run->handles.Begin(options);
  run->args = run->arena.Allocate(codec.args_size);
  if (run->args == nullptr) {
    run->handles.EndDecoding();
    *error = "no memory for arguments";
    return false;
  }
  wire::Decoder decoder(body, &run->arena, &run->handles);
  codec.decode_request(decoder, run->args);
  std::string wrong = decoder.ok() ? "" : decoder.error();
  if (!run->handles.refused().empty()) wrong = run->handles.refused();
  if (decoder.ok() && command.check != nullptr && !run->handles.blocked() && !run->handles.inert()) {
    const auto* context = static_cast<const DispatchContext*>(run->handles.context());
    const Finding finding = command.check(run->handles.facts(), context, run->args);
    if (finding.members != nullptr) wrong = fmt::format("{}: {}", finding.members, finding.what);
    if (finding.left_out != nullptr) run->handles.MakeInert(finding.left_out);
  }
  run->handles.EndDecoding();
  if (wrong.empty()) return true;
  *error = fmt::format("{}: {}", kCommandNames[run->command], wrong);
  return false;
}

void Session::Invoke(CommandRun* run) {
  const auto* context = static_cast<const DispatchContext*>(run->handles.context());
  const vk::DispatchTable& table = context == nullptr ? driver_->global() : context->table;
  const ServerCommand& command = kServerCommands[run->command];
  // Without a context the command names no object to be called on: it must be one that needs none.
  if ((context == nullptr || !command.overridden) && !HasEntry(table, run->command)) {
    Log(LogLevel::kWarning, "session {}: the driver has no {}", number_, kCommandNames[run->command]);
    run->handles.Finish(run->wants_reply, VK_ERROR_EXTENSION_NOT_PRESENT);
    if (run->wants_reply) Answer(run->sequence, wire::ReplyKind::kRefused, VK_SUCCESS);
    return;
  }
  if (!MayHaveShaders(run)) return Skip(run);
  CommandRun* const outer = std::exchange(t_run, run);
  const bool lent =
      context != nullptr && context->device != nullptr && context->device->pipelines().Lend(run->command, run->args);
  command.invoke(*this, table, run->args);
  if (lent) PipelineCache::Return(run->command, run->args);
  t_run = outer;
  // Where memory is shared there is little to compare, and what was not noted may write everything.
  if (!shares_memory_ && context != nullptr && context->device != nullptr) {
    memories_.writes().Note(context->device->handle(), run->command, run->args);
  }
  NoteRecorded(*run);
  const VkResult result = ResultOf(command, run->args);
  run->handles.Finish(run->wants_reply, result);
  if (command.destroys_any()) run->handles.ForgetFailed();
  if (run->reply_deferred) return;
  if (command.accesses && context != nullptr && context->device != nullptr) {
    const auto writes = memories_.writes().Unknown(context->device->handle());
    context->device->ScanAfterHostAccess();
  }
  if (run->wants_reply) {
    SendReply(*run);
  } else if (result < 0) {
    ReportFailure(*run, result);
  }
}

bool Session::MayHaveShaders(CommandRun* run) {
  const auto* context = static_cast<const DispatchContext*>(run->handles.context());
  if (context == nullptr || context->device == nullptr) return true;
  const ShaderRules rules{driver_->options().validate_shaders, context->device->api_version()};
  ShaderVerdict verdict = CheckShaders(run->command, run->args, rules);
  if (verdict.result == VK_SUCCESS) return true;
  CommandRun* const outer = std::exchange(t_run, run);
  debug_messages_.Say(*context->instance, fmt::format("{}: {}", kCommandNames[run->command], verdict.why));
  t_run = outer;
  run->handles.MakeInert(std::move(verdict.why), verdict.result);
  return false;
}

CommandHandles::Options Session::OptionsOf(uint16_t command) {
  const ServerCommand& entry = kServerCommands[command];
  const bool ends = command == static_cast<uint16_t>(Command::kEndCommandBuffer);
  return {.destroys = entry.destroys_any(), .whole = entry.is_recorded() || entry.submit || ends};
}

// What later commands have to know of what a command buffer holds.
void Session::NoteRecorded(const CommandRun& run) {
  const CommandHandles& handles = run.handles;
  if (run.command == static_cast<uint16_t>(Command::kBeginCommandBuffer)) {
    query_uses_.Begin(handles.first_dispatchable());
    table_.SetResult(table_.Acquire(), handles.first_dispatchable(), 0);
  } else if (handles.records_queries()) {
    for (const ObjectId id : handles.named()) query_uses_.Carry(handles.first_dispatchable(), id);
  }
}

// A command was left out of a command buffer since what it uses could not be made: what follows may build on it. Nothing
// more is recorded until the command buffer begins anew, and it cannot be submitted.
void Session::NoteLacking(const CommandRun& run) {
  if (!kServerCommands[run.command].is_recorded() || !(run.handles.failed() || run.handles.lacking())) return;
  table_.SetResult(table_.Acquire(), run.handles.first_dispatchable(), run.handles.result());
}

void Session::Lose(const CommandRun& run, const std::string& why) {
  const auto* context = static_cast<const DispatchContext*>(run.handles.context());
  if (context != nullptr && context->device != nullptr) {
    context->device->Lose(why);
  } else {
    events_.DeviceLost(kNullObject, why);
  }
}

// An asynchronous command failed. What it should have made is a tombstone now; a failure without
// one loses the device.
void Session::ReportFailure(const CommandRun& run, VkResult result) {
  const char* name = kCommandNames[run.command];
  if (!run.handles.new_objects().empty()) {
    Log(LogLevel::kWarning, "session {}: {} failed with {}", number_, name, static_cast<int>(result));
    return;
  }
  Lose(run, fmt::format("{} failed with {}", name, static_cast<int>(result)));
}

void Session::Skip(CommandRun* run) {
  NoteLacking(*run);
  const bool follows = run->handles.lacking() && !kServerCommands[run->command].submit;
  if (++stats_.inert <= limits::kMaxInertLines && !follows) {
    Log(LogLevel::kWarning, "session {}: {} not executed: {}", number_, kCommandNames[run->command],
        run->handles.reason());
  }
  run->handles.Finish(run->wants_reply, run->handles.result());
  if (run->wants_reply) Answer(run->sequence, wire::ReplyKind::kInert, run->handles.result());
  if (kServerCommands[run->command].submit) {
    Lose(*run, fmt::format("{}: {}", kCommandNames[run->command], run->handles.reason()));
  }
}

void Session::Answer(uint64_t sequence, wire::ReplyKind kind, VkResult result) {
  const wire::ReplyHeader header{kind, result};
  outbox_.Send(MessageKind::kReply, sequence, {reinterpret_cast<const uint8_t*>(&header), sizeof(header)});
  ++stats_.replies;
}

void Session::SendReply(CommandRun& run) {
  thread_local wire::ByteBuffer out;
  out.clear();
  const wire::ReplyHeader header{wire::ReplyKind::kAnswer, ResultOf(kServerCommands[run.command], run.args)};
  out.Append(&header, sizeof(header));
  wire::Encoder encoder(&out, &run.handles);
  const auto encode = wire::kCodecs[run.command].encode_reply;
  if (encode != nullptr) encode(encoder, run.args);
  outbox_.Send(MessageKind::kReply, run.sequence, {out.data(), out.size()}, {}, std::move(run.memory));
  ++stats_.replies;
}

std::string Session::Summary() {
  const HandleTable::Lock lock = table_.Acquire();
  return fmt::format(
      "session {}: {} messages, {} commands ({} slow, {} inert), {} bytes in, {} bytes out, {} "
      "objects at most, {} left, "
      "{} bytes of memory received, {} sent, {} compared, {} missed, {}",
      number_, stats_.messages.load(), stats_.commands.load(), stats_.slow.load(), stats_.inert.load(),
      channel_->bytes_received(), channel_->bytes_sent(), table_.peak(lock), table_.live(lock),
      memories_.written_bytes(), memories_.changed_bytes(), memories_.compared_bytes(), memories_.missed_bytes(),
      debug_messages_.Summary());
}

CommandRun& Session::run() { return *t_run; }
const CommandRun* Session::current() { return t_run; }
CommandHandles& Session::handles() { return t_run->handles; }

const DispatchContext& Session::context() {
  const auto* context = static_cast<const DispatchContext*>(t_run->handles.context());
  return context == nullptr ? driver_->global_context() : *context;
}

std::shared_ptr<CommandRun> Session::KeepRun() {
  CommandRun* run = t_run;
  if (!run->kept) {  // else it may be with another thread already, which the reader only asks after
    run->kept = true;
    run->Count(&queued_bytes_);
  }
  return run->shared_from_this();
}

std::shared_ptr<CommandRun> Session::DeferReply() {
  std::shared_ptr<CommandRun> run = KeepRun();
  run->reply_deferred = true;
  return run;
}

Instance* Session::AddInstance(std::unique_ptr<Instance> instance) {
  Instance* added = instance.get();
  instances_.insert_or_assign(added->handle, std::move(instance));
  return added;
}

void Session::RemoveInstance(VkInstance instance) {
  const auto found = instances_.find(instance);
  if (found == instances_.end()) return;
  retired_instances_.push_back(std::move(found->second));
  instances_.erase(found);
}

Device* Session::AddDevice(std::unique_ptr<Device> device) {
  Device* added = device.get();
  devices_.insert_or_assign(added->handle(), std::move(device));
  return added;
}

std::vector<Device*> Session::DevicesOf(const Instance* instance) {
  std::vector<Device*> devices;
  for (const auto& [handle, device] : devices_) {
    if (device->parts().instance == instance) devices.push_back(device.get());
  }
  return devices;
}

void Session::EndDevice(Device* device) {
  const VkDevice handle = device->handle();
  DrainJobs();
  device->Drain();
  memories_.UnregisterAll(handle);
  device->StopQueues();
  device->pipelines().End();
  device->memory_reserve().Drop();
  device->table().DestroyDevice(handle, nullptr);
  if (device->importer() != nullptr) device->importer()->DropAll();
  const auto found = devices_.find(handle);
  retired_devices_.push_back(std::move(found->second));
  devices_.erase(found);
  ReturnDeviceSlot();
}

}  // namespace vesper::server
