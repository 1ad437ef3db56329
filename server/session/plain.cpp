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

// What the arguments point at lives in the arena until the next command.
inline bool Session::TakePlain(uint16_t number, std::span<const uint8_t> body, uint8_t* args) {
  const ServerCommand& command = kServerCommands[number];
  const wire::CommandCodec& codec = wire::kCodecs[number];
  if (codec.args_size > limits::kPlainArgumentBytes) return false;
  plain_handles_.Begin();
  if (command.take != nullptr) {
    command.take(plain_handles_, body, args);
    return plain_handles_.ok();
  }
  for (size_t at = 0; at < codec.args_size; at += kWord) std::memset(args + at, 0, kWord);
  if (plain_arena_.used() != 0) plain_arena_.Reset();
  wire::Decoder decoder(body, &plain_arena_, &plain_handles_);
  codec.decode_request(decoder, args);
  return decoder.ok();
}

// Most of what is recorded is handed on to the driver and that is all: no lock is taken for it, nothing is kept of it. The decoder
// and the checks are those of every command; what they find to be said makes it a command like others, from its bytes on.
bool Session::ExecutePlain(const Record& record) {
  const uint16_t number = translation_.Command(record.header.command);
  if (number >= kCommandCount || !kServerCommands[number].plain || record.header.flags != 0) return false;
  const ServerCommand& command = kServerCommands[number];
  alignas(kWord) uint8_t args[limits::kPlainArgumentBytes];
  if (!TakePlain(number, record.body, args)) return false;
  const DispatchContext* context = plain_handles_.context();
  if (context == nullptr || context->device == nullptr || !HasEntry(context->table, number)) return false;
  if (command.needs != wire::kNeedsNothing && !context->enabled[command.needs]) return false;
  if (command.check != nullptr && !command.check(plain_handles_.facts(), context, args).nothing()) return false;
  command.invoke(*this, context->table, args);
  if (!shares_memory_) memories_.writes().Note(context->device->handle(), number, args);
  for (const ObjectId id : plain_handles_.carried()) query_uses_.Carry(plain_handles_.commands(), id);
  SessionStats::Count(&stats_.commands);
  SessionStats::Count(&stats_.plain);
  return true;
}

}  // namespace vesper::server
