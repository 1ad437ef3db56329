// The part of Session that executes what most of a recording is made of.
#include <cstddef>
#include <cstring>

#include "generated/wire/codecs.h"
#include "runtime/wire/decoder.h"
#include "server/memory/write_ledger.h"
#include "server/session/session.h"

namespace vesper::server {
namespace {

constexpr size_t kWord = 16;  // bytes that the CPU clears at once
static_assert(limits::kPlainArgumentBytes % kWord == 0);

}  // namespace

// What the arguments point at lives in the arena.
inline bool Session::TakePlain(uint16_t number, std::span<const uint8_t> body, Arena* arena, void* args) {
  const ServerCommand& command = kServerCommands[number];
  const wire::CommandCodec& codec = wire::kCodecs[number];
  plain_handles_.Begin();
  if (command.take != nullptr) {
    command.take(plain_handles_, body, args);
    return plain_handles_.ok();
  }
  wire::Decoder decoder(body, arena, &plain_handles_);
  codec.decode_request(decoder, args);
  return decoder.ok();
}

// Most of what is recorded is handed on to the driver and that is all: no lock is taken for it, nothing is kept of it. The decoder
// and the checks are those of every command; what they find to be said makes it a command like others, from its bytes on. In a
// long command buffer the driver's part is a lane's.
bool Session::ExecutePlain(uint16_t number, std::span<const uint8_t> body) {
  const ServerCommand& command = kServerCommands[number];
  const size_t size = wire::kCodecs[number].args_size;
  ObjectId commands = kNullObject;
  if (size > limits::kPlainArgumentBytes || body.size() < command.commands_at + sizeof(commands)) return false;
  std::memcpy(&commands, body.data() + command.commands_at, sizeof(commands));

  Lane* const lane = lanes_.For(commands);
  Row* const row = lane == nullptr ? nullptr : &lane->Filling();
  alignas(kWord) uint8_t own[limits::kPlainArgumentBytes];
  void* args = own;
  if (row != nullptr) args = row->Place(size);
  if (command.take == nullptr) {  // which would write all of it
    for (size_t at = 0; at < size; at += kWord) std::memset(static_cast<uint8_t*>(args) + at, 0, kWord);
    if (plain_arena_.used() != 0) plain_arena_.Reset();
  }
  if (!TakePlain(number, body, row == nullptr ? &plain_arena_ : &row->arena, args)) return false;
  if (plain_handles_.commands() != commands) return false;
  const DispatchContext* context = plain_handles_.context();
  if (context == nullptr || context->device == nullptr || !HasEntry(context->table, number)) return false;
  if (command.needs != wire::kNeedsNothing && !context->enabled[command.needs]) return false;
  if (command.check != nullptr && !command.check(plain_handles_.facts(), context, args).nothing()) return false;
  if (!shares_memory_) memories_.writes().Note(context->device->handle(), number, args);
  for (const ObjectId id : plain_handles_.carried()) query_uses_.Carry(commands, id);
  if (row != nullptr) {
    row->Add({command.invoke, &context->table, args});
    if (row->IsFull()) lane->Post();
    SessionStats::Count(&stats_.laned);
  } else {
    command.invoke(*this, context->table, args);
  }
  SessionStats::Count(&stats_.commands);
  SessionStats::Count(&stats_.plain);
  return true;
}

void Session::SettleFor(const CommandRun& run) {
  const ObjectId first = run.handles.first_dispatchable();
  if (first != kNullObject && table_.TypeOfPeer(first) == HandleType::kCommandBuffer) {
    lanes_.Settle(first);
  } else {
    lanes_.SettleAll();
  }
}

}  // namespace vesper::server
