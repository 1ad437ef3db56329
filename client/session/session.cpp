#include "client/session/session.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <new>

#include "client/base/limits.h"
#include "client/base/log.h"
#include "client/objects/sync.h"
#include "client/session/client_handles.h"
#include "client/tracking/hash.h"
#include "generated/wire/codecs.h"
#include "runtime/arena.h"
#include "runtime/wire/decoder.h"
#include "runtime/wire/limits.h"
#include "runtime/wire/memory_runs.h"

namespace vesper::client {
namespace {

const wire::CommandCodec& CodecOf(Command command) { return wire::kCodecs[static_cast<uint16_t>(command)]; }

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

std::vector<bool> Decoded(const Welcome& welcome) {
  if (welcome.commands.empty()) return {};
  std::vector<bool> decoded(kCommandCount, false);
  for (uint16_t i = 0; i < kCommandCount; ++i) {
    decoded[i] =
        std::find(welcome.commands.begin(), welcome.commands.end(), kCommandNames[i]) != welcome.commands.end();
  }
  return decoded;
}

// The same few commands again and again: what is added to a counter at once is as much as one of few places can hold.
void CountRecords(std::span<const uint8_t> records, Statistics* statistics) noexcept {
  struct Sum {
    uint16_t command = 0;
    uint64_t bytes = 0;
  };
  std::array<Sum, 16> sums;
  const auto add = [statistics](const Sum& sum) {
    if (sum.bytes != 0) statistics->CountSent(static_cast<Command>(sum.command), sum.bytes);
  };
  for (size_t at = 0; at < records.size();) {  // they are ours, and whole
    const auto header = wire::Load<wire::RecordHeader>(records.data() + at);
    at += sizeof(header) + (size_t{header.length} + 7) / 8 * 8;
    Sum& sum = sums[header.command % sums.size()];
    if (sum.command != header.command) {
      add(sum);
      sum = {header.command, 0};
    }
    sum.bytes += sizeof(header) + header.length;
  }
  for (const Sum& sum : sums) add(sum);
}

}  // namespace

Session::Session(std::unique_ptr<Channel> channel, const Welcome& welcome, const Timing& timing)
    : statistics_(std::make_unique<Statistics>()),
      shares_memory_(welcome.shares_memory),
      ids_(welcome.max_objects == 0 ? limits::kDefaultSlots : welcome.max_objects),
      decoded_by_server_(Decoded(welcome)),
      connection_(std::move(channel), this, statistics_.get(), timing) {
  Count(statistics_->round_trips);  // the handshake
  statistics_->transport = connection_.channel().name();
  if (welcome.answers_marks) connection_.BoundLead();
  RegisterStatistics(statistics_.get());
}

Session::~Session() { RetireStatistics(statistics_.get()); }

// --- commands ------------------------------------------------------------------------------------------------------------

VkResult Session::Post(Command command, const void* args) noexcept {
  if (!connection_.AwaitRoom()) return VK_ERROR_DEVICE_LOST;
  size_t bytes = 0;
  const auto posted = connection_.Post(
      static_cast<uint16_t>(command),
      [&](wire::ByteBuffer* out) {
        RequestEncoder encoder(out);
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
        RequestEncoder encoder(out);
        CodecOf(command).encode_request(encoder, args);
      },
      reply, &bytes);
  statistics_->CountSent(command, bytes);
  *failure = FailureOf(posted);
  if (posted != Connection::Posted::kOk) return false;
  messages_.Claim(reply->sequence);
  statistics_->CountReply(command, reply->payload.size(), reply->waited_ns);
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
  Arena arena(wire::kMaxArenaBytes);
  wire::Decoder decoder(body, &arena, &handles);
  CodecOf(command).decode_reply(decoder, args);
  if (decoder.ok()) return true;
  char why[limits::kMaxReason];
  std::snprintf(why, sizeof(why), "the reply to %s cannot be decoded: %s",
                kCommandNames[static_cast<uint16_t>(command)], decoder.error());
  connection_.MarkLost(why);
  *failure = VK_ERROR_DEVICE_LOST;
  return false;
}

bool Session::AskCached(Command command, void* args, VkResult* failure) noexcept {
  if (abandoned()) {
    *failure = VK_ERROR_DEVICE_LOST;
    return false;
  }
  try {
    const wire::ByteBuffer question = QuestionOf(command, args);
    const std::string_view key = View(question);
    {
      const MutexLock lock(answers_mutex_);
      const auto found = answers_.find(key);
      if (found != answers_.end()) {
        return Decode(command, found->second, args, failure);
      }
    }
    std::string remembered(key);  // asking may ask again, in a callback of the application
    Reply own;
    const Reply* reply = &own;
    const std::shared_ptr<LaterReply> ahead = FindAhead(remembered);
    if (ahead != nullptr && Await(command, *ahead) && ahead->reply.header.kind == wire::ReplyKind::kAnswer) {
      reply = &ahead->reply;
    } else if (!AskOnce(command, args, &own, failure)) {
      return false;
    }
    const std::span<const uint8_t> body = reply->body();
    if (!Decode(command, body, args, failure)) return false;
    const MutexLock lock(answers_mutex_);
    if (ahead != nullptr) ahead_.erase(remembered);
    if (answers_.size() < limits::kMaxAnswers)
      answers_.emplace(std::move(remembered), std::vector<uint8_t>(body.begin(), body.end()));
    return true;
  } catch (const std::bad_alloc&) {
    *failure = VK_ERROR_OUT_OF_HOST_MEMORY;
    return false;
  }
}

wire::ByteBuffer Session::QuestionOf(Command command, const void* args) const {
  wire::ByteBuffer question;
  question.Append(&command, sizeof(command));
  const RecipeMapper mapper(&recipes_);
  RequestEncoder encoder(&question, &mapper);
  CodecOf(command).encode_request(encoder, args);
  return question;
}

std::shared_ptr<LaterReply> Session::FindAhead(std::string_view question) {
  const MutexLock lock(answers_mutex_);
  const auto found = ahead_.find(question);
  return found == ahead_.end() ? nullptr : found->second;
}

std::shared_ptr<LaterReply> Session::AskWith(const std::shared_ptr<Trip>& trip, Command command,
                                             const void* args) noexcept {
  std::shared_ptr<LaterReply> asked = AskLater(command, args, When::kWithTheNext);
  if (asked != nullptr) connection_.Join(asked, trip);
  return asked;
}

void Session::AskAhead(const std::shared_ptr<Trip>& trip, Command command, const void* args) noexcept {
  try {
    const wire::ByteBuffer question = QuestionOf(command, args);
    const std::string_view key = View(question);
    {
      const MutexLock lock(answers_mutex_);
      if (answers_.find(key) != answers_.end() || ahead_.find(key) != ahead_.end()) return;
      if (ahead_.size() >= limits::kMaxAnswersAhead) return;
    }
    std::shared_ptr<LaterReply> asked = AskWith(trip, command, args);
    if (asked == nullptr) return;
    const MutexLock lock(answers_mutex_);
    ahead_.emplace(std::string(key), std::move(asked));
  } catch (const std::bad_alloc&) {  // it is asked for when it is wanted
  }
}

bool Session::Await(Command command, const LaterReply& later) noexcept {
  if (abandoned()) return false;
  bool counted = false;
  const auto start = Clock::now();
  if (!connection_.Await(later, &counted)) return false;
  if (counted) {
    const auto waited = static_cast<uint64_t>((Clock::now() - start).count());
    statistics_->CountReply(command, later.reply.payload.size(), waited);
  }
  return true;
}

std::shared_ptr<LaterReply> Session::AskLater(Command command, const void* args, When when) noexcept {
  const auto encode = [&](wire::ByteBuffer* out) {
    RequestEncoder encoder(out);
    CodecOf(command).encode_request(encoder, args);
  };
  return connection_.AskLater(static_cast<uint16_t>(command), encode, when);
}

bool Session::Finish(Command command, const LaterReply& later, void* args) noexcept {
  if (later.reply.header.kind != wire::ReplyKind::kAnswer) return false;
  VkResult failure = VK_SUCCESS;
  return Decode(command, later.reply.body(), args, &failure);
}

void Session::NoteRecipe(Command command, const void* args, std::span<const uint64_t> ids) noexcept {
  try {
    wire::ByteBuffer recipe;
    recipe.Append(&command, sizeof(command));
    RequestEncoder encoder(&recipe);
    CodecOf(command).encode_request(encoder, args);
    recipes_.Note(ids, View(recipe));
  } catch (const std::bad_alloc&) {  // the object answers for itself
  }
}

uint64_t Session::DigestOf(Command command, const void* args, std::span<const uint64_t> made) noexcept {
  try {
    wire::ByteBuffer request;
    request.Append(&command, sizeof(command));
    const RecipeMapper mapper(&recipes_);
    wire::Encoder encoder(&request, &mapper);
    CodecOf(command).encode_request(encoder, args);
    const size_t tail = made.size_bytes();  // what a command makes comes last
    if (request.size() >= tail && std::memcmp(request.data() + request.size() - tail, made.data(), tail) == 0) {
      request.Truncate(request.size() - tail);
    }
    return HashBytes(request.data(), request.size());
  } catch (const std::bad_alloc&) {
    return 0;
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

void Session::SendRecords(CommandBuffer* buffer) noexcept {
  if (buffer->records.empty()) return;
  const std::span<const uint8_t> records(buffer->records.data(), buffer->records.size());
  CountRecords(records, statistics_.get());
  if (!connection_.AwaitRoom() || !PostRecords(records)) buffer->failure = VK_ERROR_OUT_OF_DEVICE_MEMORY;
  buffer->records.clear();
}

bool Session::Decodes(Command command) const {
  const auto number = static_cast<uint16_t>(command);
  return decoded_by_server_.empty() || number >= kCommandCount || decoded_by_server_[number];
}

void Session::Abandon() noexcept { connection_.Abandon(); }

// --- objects -------------------------------------------------------------------------------------------------------------

void Session::AddQueue(Queue* queue) {
  const MutexLock lock(objects_mutex_);
  queues_[queue->header.id] = queue;
}

void Session::RemoveQueue(Queue* queue) noexcept {
  if (abandoned()) return;
  const MutexLock lock(objects_mutex_);
  queues_.erase(queue->header.id);
}

void Session::AddDevice(Device* device) {
  const MutexLock lock(objects_mutex_);
  devices_[device->header.id] = device;
}

void Session::RemoveDevice(Device* device) noexcept {
  if (abandoned()) return;
  const MutexLock pulse(pulse_mutex_);
  const MutexLock lock(objects_mutex_);
  devices_.erase(device->header.id);
}

void Session::AddCommandBuffers(std::span<const std::unique_ptr<CommandBuffer>> buffers) {
  const MutexLock lock(objects_mutex_);
  for (const auto& buffer : buffers) command_buffers_[buffer->header.id] = buffer.get();
}

void Session::RemoveCommandBuffer(ObjectId id) noexcept {
  const MutexLock lock(objects_mutex_);
  command_buffers_.erase(id);
}

Dispatchable* Session::FindDispatchable(HandleType type, ObjectId id) {
  const auto find = [id](const auto& objects) -> Dispatchable* {
    const auto found = objects.find(id);
    return found == objects.end() ? nullptr : found->second;
  };
  Instance* const instance = instance_.load();
  const MutexLock lock(objects_mutex_);
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
    case wire::EventKind::kPicture:
      Picture(body);
      return;
    case wire::EventKind::kDeviceLost:
      DeviceLost(body);
      return;
    case wire::EventKind::kMade:
      if (body.size() >= sizeof(wire::Made)) {
        const auto made = wire::Load<wire::Made>(body.data());
        verdicts_.Decided(made.object, static_cast<VkResult>(made.result));
      }
      return;
    case wire::EventKind::kMemoryCredit:
      if (body.size() >= sizeof(wire::MemoryCredit)) MemoryCreditTold(wire::Load<wire::MemoryCredit>(body.data()));
      return;
    case wire::EventKind::kAlive:     // that it came is all it says
    case wire::EventKind::kProgress:  // the connection's own
      return;
    case wire::EventKind::kDebugMessage:
      if (!messages_.Arrived(body, [this](uint64_t sequence) { return connection_.IsAwaited(sequence); }))
        connection_.MarkLost("an event with a message for a debug callback is malformed");
      return;
  }
}

void Session::Completed(const wire::Completed& completed) {
  const MutexLock lock(objects_mutex_);
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
  std::array<wire::Run, limits::kRunsAtOnce> some;
  const MutexLock lock(objects_mutex_);
  for (uint32_t left = runs.count; left != 0;) {
    const auto count = std::min<uint32_t>(left, some.size());
    for (uint32_t i = 0; i < count; ++i) {
      if (wire::NextRun(&body, &some[i])) continue;
      connection_.MarkLost("a memory event is malformed");
      return;
    }
    for (const auto& [id, device] : devices_) device->mapped_memory.Apply(runs.memory, std::span(some).first(count));
    left -= count;
  }
}

bool Session::AskForNear(const wire::PictureMemory& pictures) noexcept {
  // Noted ahead of the answer, which parts of pictures may overtake.
  if (!near_pictures_.Note(pictures)) return false;
  if (AskControl(wire::Control::kPictures, &pictures, sizeof(pictures))) return true;
  near_pictures_.Forget(pictures.memory);
  return false;
}

void Session::Picture(std::span<const uint8_t> body) {
  bool whole = body.size() >= sizeof(wire::PictureTile);
  if (whole) {
    const auto tile = wire::Load<wire::PictureTile>(body.data());
    body = body.subspan(sizeof(tile));
    whole = tile.bytes <= body.size();
    std::span<wire::Run> rows;
    whole = whole && near_pictures_.Unpack(tile, body.first(tile.bytes), &rows);
    const MutexLock lock(objects_mutex_);
    const uint64_t before = statistics_->frame_bytes.load();
    for (const auto& [id, device] : devices_) device->mapped_memory.Apply(tile.memory, rows);
    // What is counted are the bytes that came; nobody but the reader counts here.
    const uint64_t unpacked = statistics_->frame_bytes.load() - before;
    if (unpacked != 0) {
      Count(statistics_->frame_bytes, tile.bytes - unpacked);
      Count(statistics_->received_bytes, tile.bytes - unpacked);
    }
  }
  if (!whole) connection_.MarkLost("a part of a picture is malformed");
}

bool Session::OnPulse() {
  const MutexLock pulse(pulse_mutex_);
  bool more = false;
  for (Device* device = NextDevice(nullptr); device != nullptr; device = NextDevice(device)) {
    if (!device->mapped_memory.WantsExchange() || device->lost) continue;
    device->mapped_memory.SendWrites();
    more = true;
  }
  return more;
}

// In the order of ids; nullptr after the last.
Device* Session::NextDevice(const Device* after) {
  const MutexLock lock(objects_mutex_);
  const auto next = after == nullptr ? devices_.begin() : devices_.upper_bound(after->header.id);
  return next == devices_.end() ? nullptr : next->second;
}

void Session::MemoryCreditTold(const wire::MemoryCredit& told) {
  const MutexLock lock(objects_mutex_);
  const auto found = devices_.find(told.device);
  if (found != devices_.end()) found->second->memory_credit.Told(told);
}

void Session::DeviceLost(std::span<const uint8_t> body) {
  if (body.size() < sizeof(wire::DeviceLost)) return;
  const auto lost = wire::Load<wire::DeviceLost>(body.data());
  const auto why = body.subspan(sizeof(lost));
  Log(LogLevel::kError, "a device is lost: %.*s", static_cast<int>(why.size()),
      reinterpret_cast<const char*>(why.data()));
  const MutexLock lock(objects_mutex_);
  for (const auto& [id, device] : devices_) {
    if (lost.device == kNullObject || lost.device == id) device->lost.store(true);
  }
}

void Session::OnLost(std::string_view) {}

}  // namespace vesper::client
