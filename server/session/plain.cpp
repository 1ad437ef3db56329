// The part of Session that executes what most of a recording is made of, and light commands beside it.
#include <array>
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

// What is to be known of a plain command, side by side.
struct PlainCommand {
  void (*take)(PlainDecoder&, void* args);  // null: `decode` is to be used
  void (*invoke)(Session&, const vk::DispatchTable&, void* args);
  Finding (*check)(const NamedFacts&, const DispatchContext*, const void* args);
  void (*decode)(wire::Decoder&, void* args);
  uint32_t size;      // of the arguments; 0 for what is no plain command, or has too many of them
  uint32_t first_at;  // where in its bytes the id of its command buffer or device stands
  bool light;
};
using PlainCommands = std::array<PlainCommand, kCommandCount>;

const PlainCommands& AllPlain() {
  static const PlainCommands kAll = [] {
    PlainCommands all{};
    for (size_t i = 0; i < kCommandCount; ++i) {
      const ServerCommand& command = kServerCommands[i];
      const wire::CommandCodec& codec = wire::kCodecs[i];
      if (!(command.plain || command.light) || codec.args_size > limits::kPlainArgumentBytes) continue;
      all[i] = {
          command.take,     command.invoke, command.check, codec.decode_request, static_cast<uint32_t>(codec.args_size),
          command.first_at, command.light};
    }
    return all;
  }();
  return kAll;
}

[[gnu::always_inline]] inline void TakeArguments(const PlainCommand& command, PlainDecoder& decoder, void* args) {
  if (command.take != nullptr) return command.take(decoder, args);  // writes all of them
  for (size_t at = 0; at < command.size; at += kWord) std::memset(static_cast<uint8_t*>(args) + at, 0, kWord);
  command.decode(decoder, args);
}

// Tells the meter of a row of recorded commands once, and of each light one by itself.
class Uncounted {
 public:
  explicit Uncounted(Meter* meter) : meter_(meter) {}
  [[gnu::always_inline]] void Next(const uint8_t* at, uint16_t kind, size_t bytes) {
    if (kind == wire::kRecordings && from_ != nullptr) return;
    End(at);
    from_ = kind == wire::kRecordings ? at : nullptr;
    meter_->Begin(kind, kind == wire::kRecordings ? 0 : bytes);
  }
  void End(const uint8_t* at) {
    if (from_ != nullptr) meter_->Add(static_cast<size_t>(at - from_));
    from_ = nullptr;
  }

 private:
  Meter* const meter_;
  const uint8_t* from_ = nullptr;  // of the row
};

}  // namespace

// Most of what is recorded is handed on to the driver and that is all: no lock is taken for it, nothing is kept of it. The decoder
// and the checks are those of every command; what they find to be said makes it a command like others, from its bytes on. In a
// long command buffer the driver's part is a lane's. A light command is the same but for its being called on a device.
void Session::ExecutePlainOnes(std::span<const uint8_t>* bytes) {
  const PlainCommand* const all = AllPlain().data();
  alignas(kWord) uint8_t own[limits::kPlainArgumentBytes];
  Uncounted uncounted(&meter_);
  uint64_t done = 0, laned = 0;
  wire::RecordHeader header;
  std::span<const uint8_t> rest = *bytes, body;
  PlainDecoder decoder(&plain_handles_);
  ObjectId current = kNullObject;
  Lane* lane = nullptr;  // of `current`, as soon as it has one
  for (; wire::NextRecord(&rest, &header, &body); *bytes = rest, ++done) {
    const uint16_t number = translation_.Command(header.command);
    if (number >= kCommandCount || header.flags != 0) break;
    const PlainCommand& command = all[number];
    ObjectId first = kNullObject;
    if (command.size == 0 || body.size() < command.first_at + sizeof(first)) break;
    uncounted.Next(bytes->data(), command.light ? header.command : wire::kRecordings, body.size());
    std::memcpy(&first, body.data() + command.first_at, sizeof(first));

    if (!plain_handles_.Begin(first, command.light ? HandleType::kDevice : HandleType::kCommandBuffer)) break;
    const DispatchContext* const context = plain_handles_.context();
    if (!context->plain[number]) break;
    if (command.light) {
      lane = nullptr;
      current = kNullObject;
    } else if (lane == nullptr || first != current) {
      lane = lanes_.For(first);
      current = first;
    }
    Row* const row = lane == nullptr ? nullptr : &lane->FillingFor(&context->table);
    PreparedCall* const call = row == nullptr ? nullptr : row->Place(command.size);
    if (row != nullptr && call == nullptr) break;
    void* const args = row == nullptr ? own : Row::ArgumentsOf(call);
    if (row == nullptr) plain_arena_.Reset();
    decoder.Restart(body, row == nullptr ? &plain_arena_ : row->arena());
    TakeArguments(command, decoder, args);
    if (!decoder.ok()) break;
    if (command.check != nullptr && !command.check(plain_handles_.facts(), context, args).nothing()) break;
    if (!shares_memory_) memories_.writes().Note(context->device->handle(), number, args);
    if (!command.light) {
      for (const ObjectId id : plain_handles_.carried()) query_uses_.Carry(first, id);
    }
    if (row == nullptr) {
      command.invoke(*this, context->table, args);
      continue;
    }
    row->Add(call, number);
    lane->PostIfDue();
    ++laned;
  }
  uncounted.End(bytes->data());
  if (done == 0) return;
  SessionStats::Count(&stats_.commands, done);
  SessionStats::Count(&stats_.plain, done);
  SessionStats::Count(&stats_.laned, laned);
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
