#include "client/session.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "client/client_handles.h"
#include "client/log.h"
#include "client/sync.h"
#include "generated/wire/codecs.h"
#include "runtime/arena.h"
#include "runtime/wire/decoder.h"
#include "runtime/wire/limits.h"
#include "runtime/wire/memory_runs.h"

namespace vesper::client {
namespace {

const wire::CommandCodec& CodecOf(Command command) { return wire::kCodecs[static_cast<uint16_t>(command)]; }

// Remembered answers are bounded; beyond, each call asks.
constexpr size_t kMaxAnswers = size_t{1} << 16;

std::string_view View(const wire::ByteBuffer& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

VkResult FailureOf(Connection::Posted posted) {
  switch (posted) {
    case Connection::Posted::kOk:
      return VK_SUCCESS;
    case Connection::Posted::kExhausted:
      return VK_ERROR_OUT_OF_HOST_MEMORY;
    case Connection::Posted::kLost:
      break;
  }
  return VK_ERROR_DEVICE_LOST;
}

// A thread decodes one reply at a time; its arena is kept for the next.
Arena& ReplyArena() {
  thread_local Arena arena(wire::kMaxArenaBytes);
  arena.Reset();
  return arena;
}

std::vector<bool> Decoded(const Welcome& welcome) {
  if (welcome.commands.empty()) return {};
  std::vector<bool> decoded(kCommandCount, false);
  for (uint16_t i = 0; i < kCommandCount; ++i) {
    decoded[i] =
        std::find(welcome.commands.begin(), welcome.commands.end(), kCommandNames[i]) != welcome.commands.end();
  }
  return decoded;
}

}  // namespace

Session::Session(std::unique_ptr<Channel> channel, const Welcome& welcome, const Timing& timing)
    : statistics_(std::make_unique<Statistics>()),
      ids_(welcome.max_objects == 0 ? Ids::kDefaultSlots : welcome.max_objects),
      decoded_by_server_(Decoded(welcome)),
      connection_(std::move(channel), this, statistics_.get(), timing) {
  Count(statistics_->round_trips);  // the handshake
  RegisterStatistics(statistics_.get());
}

Session::~Session() { RetireStatistics(statistics_.get()); }

// --- commands ------------------------------------------------------------------------------------------------------------

VkResult Session::Post(Command command, const void* args) noexcept {
  size_t bytes = 0;
  const auto posted = connection_.Post(
      static_cast<uint16_t>(command),
      [&](wire::ByteBuffer* out) {
        wire::Encoder encoder(out);
        CodecOf(command).encode_request(encoder, args);
      },
      &bytes);
  statistics_->CountSent(command, bytes);
  return FailureOf(posted);
}

bool Session::AskOnce(Command command, const void* args, Reply* reply, VkResult* failure) noexcept {
  size_t bytes = 0;
  const auto posted = connection_.Ask(
      static_cast<uint16_t>(command),
      [&](wire::ByteBuffer* out) {
        wire::Encoder encoder(out);
        CodecOf(command).encode_request(encoder, args);
      },
      reply, &bytes);
  statistics_->CountSent(command, bytes);
  *failure = FailureOf(posted);
  if (posted != Connection::Posted::kOk) return false;
  messages_.Claim(reply->sequence);
  statistics_->CountReply(command, reply->payload.size());
  if (reply->header.kind == wire::ReplyKind::kAnswer) return true;
  *failure = reply->header.result < 0 ? static_cast<VkResult>(reply->header.result) : VK_ERROR_UNKNOWN;
  Log(LogLevel::kInfo, "%s was not executed (%d)", kCommandNames[static_cast<uint16_t>(command)], *failure);
  return false;
}

bool Session::Ask(Command command, void* args, VkResult* failure, Reply* reply) noexcept {
  Reply own;
  if (reply == nullptr) reply = &own;
  return AskOnce(command, args, reply, failure) && Decode(command, reply->body(), args, failure);
}

bool Session::Decode(Command command, std::span<const uint8_t> body, void* args, VkResult* failure) noexcept {
  ClientHandles handles(this);
  wire::Decoder decoder(body, &ReplyArena(), &handles);
  CodecOf(command).decode_reply(decoder, args);
  if (decoder.ok()) return true;
  connection_.MarkLost(std::string("the reply to ") + kCommandNames[static_cast<uint16_t>(command)] +
                       " is malformed: " + decoder.error());
  *failure = VK_ERROR_DEVICE_LOST;
  return false;
}

bool Session::AskCached(Command command, void* args, VkResult* failure) noexcept {
  if (abandoned()) {
    *failure = VK_ERROR_DEVICE_LOST;
    return false;
  }
  try {
    thread_local wire::ByteBuffer question;
    question.clear();
    question.Append(&command, sizeof(command));
    const RecipeMapper mapper(&recipes_);
    wire::Encoder encoder(&question, &mapper);
    CodecOf(command).encode_request(encoder, args);
    const std::string_view key = View(question);
    {
      const std::lock_guard lock(answers_mutex_);
      const auto found = answers_.find(key);
      if (found != answers_.end()) {
        return Decode(command, found->second, args, failure);
      }
    }
    std::string remembered(key);  // asking may ask again, in a callback of the application
    Reply reply;
    if (!AskOnce(command, args, &reply, failure)) return false;
    const std::span<const uint8_t> body = reply.body();
    if (!Decode(command, body, args, failure)) return false;
    const std::lock_guard lock(answers_mutex_);
    if (answers_.size() < kMaxAnswers)
      answers_.emplace(std::move(remembered), std::vector<uint8_t>(body.begin(), body.end()));
    return true;
  } catch (const std::bad_alloc&) {
    *failure = VK_ERROR_OUT_OF_HOST_MEMORY;
    return false;
  }
}

std::shared_ptr<LaterReply> Session::AskLater(Command command, const void* args) noexcept {
  return connection_.AskLater(static_cast<uint16_t>(command), [&](wire::ByteBuffer* out) {
    wire::Encoder encoder(out);
    CodecOf(command).encode_request(encoder, args);
  });
}

bool Session::Finish(Command command, const LaterReply& later, void* args) noexcept {
  if (later.reply.header.kind != wire::ReplyKind::kAnswer) return false;
  VkResult failure = VK_SUCCESS;
  return Decode(command, later.reply.body(), args, &failure);
}

void Session::NoteRecipe(Command command, const void* args, std::span<const uint64_t> ids) noexcept {
  try {
    thread_local wire::ByteBuffer recipe;
    recipe.clear();
    recipe.Append(&command, sizeof(command));
    wire::Encoder encoder(&recipe);
    CodecOf(command).encode_request(encoder, args);
    recipes_.Note(ids, View(recipe));
  } catch (const std::bad_alloc&) {  // the object answers for itself
  }
}

bool Session::AskControl(wire::Control control, const void* body, size_t size) noexcept {
  Reply reply;
  return connection_.Ask(
             static_cast<uint16_t>(control), [&](wire::ByteBuffer* out) { out->Append(body, size); }, &reply) ==
             Connection::Posted::kOk &&
         reply.header.kind == wire::ReplyKind::kAnswer;
}

bool Session::PostControl(wire::Control control, const void* body, size_t size) noexcept {
  return connection_.Post(static_cast<uint16_t>(control), [&](wire::ByteBuffer* out) { out->Append(body, size); }) ==
         Connection::Posted::kOk;
}

bool Session::PostRecorded(std::span<const uint8_t> records) noexcept {
  if (records.empty()) return true;
  std::span<const uint8_t> rest = records;
  wire::RecordHeader header;
  std::span<const uint8_t> body;
  while (wire::NextRecord(&rest, &header, &body)) {
    if (header.command < kCommandCount) {
      statistics_->CountSent(static_cast<Command>(header.command), sizeof(header) + body.size());
    }
  }
  return connection_.PostRecords(records) == Connection::Posted::kOk;
}

bool Session::Decodes(Command command) const {
  const auto number = static_cast<uint16_t>(command);
  return decoded_by_server_.empty() || number >= kCommandCount || decoded_by_server_[number];
}

void Session::Abandon() noexcept { connection_.Abandon(); }

// --- objects -------------------------------------------------------------------------------------------------------------

void Session::AddQueue(Queue* queue) {
  const std::lock_guard lock(objects_mutex_);
  queues_[queue->header.id] = queue;
}

void Session::RemoveQueue(Queue* queue) noexcept {
  if (abandoned()) return;
  const std::lock_guard lock(objects_mutex_);
  queues_.erase(queue->header.id);
}

void Session::AddDevice(Device* device) {
  const std::lock_guard lock(objects_mutex_);
  devices_[device->header.id] = device;
}

void Session::RemoveDevice(Device* device) noexcept {
  if (abandoned()) return;
  const std::lock_guard lock(objects_mutex_);
  devices_.erase(device->header.id);
}

void Session::AddCommandBuffers(std::span<const std::unique_ptr<CommandBuffer>> buffers) {
  const std::lock_guard lock(objects_mutex_);
  for (const auto& buffer : buffers) command_buffers_[buffer->header.id] = buffer.get();
}

void Session::RemoveCommandBuffer(ObjectId id) noexcept {
  const std::lock_guard lock(objects_mutex_);
  command_buffers_.erase(id);
}

Dispatchable* Session::FindDispatchable(HandleType type, ObjectId id) {
  const auto find = [id](const auto& objects) -> Dispatchable* {
    const auto found = objects.find(id);
    return found == objects.end() ? nullptr : found->second;
  };
  Instance* const instance = instance_.load();
  const std::lock_guard lock(objects_mutex_);
  switch (type) {
    case HandleType::kInstance:
      return instance != nullptr && instance->header.id == id ? instance : nullptr;
    case HandleType::kPhysicalDevice:
      for (size_t i = 0; instance != nullptr && i < instance->physical_devices.size(); ++i) {
        if (instance->physical_devices[i]->header.id == id) return instance->physical_devices[i].get();
      }
      return nullptr;
    case HandleType::kDevice:
      return find(devices_);
    case HandleType::kQueue:
      return find(queues_);
    case HandleType::kCommandBuffer:
      return find(command_buffers_);
    default:
      return nullptr;
  }
}

// --- events --------------------------------------------------------------------------------------------------------------

void Session::OnEvent(wire::EventKind kind, std::span<const uint8_t> body) {
  switch (kind) {
    case wire::EventKind::kCompleted:
      if (body.size() >= sizeof(wire::Completed)) Completed(wire::Load<wire::Completed>(body.data()));
      return;
    case wire::EventKind::kMemoryChanged:
      MemoryChanged(body);
      return;
    case wire::EventKind::kDeviceLost:
      DeviceLost(body);
      return;
    case wire::EventKind::kLog: {
      if (body.size() < sizeof(uint32_t)) return;
      const auto level = static_cast<LogLevel>(std::min(wire::Load<uint32_t>(body.data()), 3u));
      const auto text = body.subspan(sizeof(uint32_t));
      Log(level, "server: %.*s", static_cast<int>(text.size()), reinterpret_cast<const char*>(text.data()));
      return;
    }
    case wire::EventKind::kAlive:
      return;  // that it came is all it says
    case wire::EventKind::kDebugMessage:
      if (!messages_.Arrived(body)) connection_.MarkLost("an event with a message for a debug callback is malformed");
      return;
  }
}

void Session::Completed(const wire::Completed& completed) {
  const std::lock_guard lock(objects_mutex_);
  const auto found = queues_.find(completed.queue);
  if (found == queues_.end()) return;
  const std::lock_guard lane(connection_.lane());
  Queue& queue = *found->second;
  if (completed.serial <= queue.completed) return;
  queue.device->mapped_memory.NoteCompleted(completed.serial - queue.completed);
  queue.completed = completed.serial;
  ++completions_;
}

void Session::MemoryChanged(std::span<const uint8_t> body) {
  if (body.size() < sizeof(wire::MemoryRuns)) return;
  const auto runs = wire::Load<wire::MemoryRuns>(body.data());
  body = body.subspan(sizeof(runs));
  const std::lock_guard lock(objects_mutex_);
  for (uint32_t i = 0; i < runs.count; ++i) {
    wire::Run run;
    if (!wire::NextRun(&body, &run)) {
      connection_.MarkLost("a memory event is malformed");
      return;
    }
    for (const auto& [id, device] : devices_) device->mapped_memory.Apply(runs.memory, run);
  }
}

bool Session::OnPulse() {
  const std::lock_guard lock(objects_mutex_);
  bool more = false;
  for (const auto& [id, device] : devices_) {
    if (!device->mapped_memory.WantsExchange() || device->lost) continue;
    device->mapped_memory.SendWrites();
    more = true;
  }
  return more;
}

void Session::DeviceLost(std::span<const uint8_t> body) {
  if (body.size() < sizeof(wire::DeviceLost)) return;
  const auto lost = wire::Load<wire::DeviceLost>(body.data());
  const auto why = body.subspan(sizeof(lost));
  Log(LogLevel::kError, "a device is lost: %.*s", static_cast<int>(why.size()),
      reinterpret_cast<const char*>(why.data()));
  const std::lock_guard lock(objects_mutex_);
  for (const auto& [id, device] : devices_) {
    if (lost.device == kNullObject || lost.device == id) device->lost.store(true);
  }
}

void Session::OnLost(const std::string&) {}

}  // namespace vesper::client
