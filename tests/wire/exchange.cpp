#include "tests/wire/exchange.h"

#include <algorithm>

namespace vesper::test {
namespace {

constexpr size_t kArena = size_t{16} << 20;
constexpr size_t kRandomIterations = 120;
// Exchanges with every extending struct in every chain it may stand in: with everything and not, then digit by digit.
constexpr size_t kRounds = 2 + Shape::kDigits;

Exchange* current = nullptr;

Memory* EmptyMemory() {
  static Memory memory;
  memory.Reset();
  return &memory;
}

}  // namespace

uint64_t Driver::Called(Command, const void* args) { return current->Called(static_cast<const uint8_t*>(args)); }

Exchange::Exchange(const CommandTable& command, uint64_t seed, Shape shape, bool native)
    : command_(command),
      codec_(wire::kCodecs[static_cast<size_t>(command.id)]),
      random_(seed),
      handles_(native),
      memory_(EmptyMemory()),
      shape_(shape),
      filler_(&random_, &handles_, memory_, shape),
      arena_(kArena),
      client_args_(memory_->Allocate(command.args.size, command.args.name, "(arguments)")),
      server_args_((command.args.size + 7) / 8, 0) {
  std::memset(client_args_, 0, command.args.size);
  memory_->MayBeWritten(client_args_ + command.result, command.result_size);
  filler_.Fill(command.args, client_args_, Role::kIn);
}

void Exchange::Encode() {
  wire::Encoder encoder(&request_, handles_.client());
  codec_.encode_request(encoder, client_args_);
}

std::string Exchange::Deliver() {
  auto* args = reinterpret_cast<uint8_t*>(server_args_.data());
  wire::Decoder decoder({request_.data(), request_.size()}, &arena_, handles_.server());
  codec_.decode_request(decoder, args);
  if (!decoder.ok()) return std::string("the request does not decode: ") + decoder.error();
  if (decoder.remaining() != 0) return std::to_string(decoder.remaining()) + " bytes of the request are not read";
  if (!handles_.error().empty()) return handles_.error();
  difference_ = CompareIds(args);
  current = this;
  command_.call(args, command_.entry);
  current = nullptr;
  return called_ ? difference_ : "the driver was not called";
}

std::string Exchange::Unanswered(void* dispatchable, PFN_vkVoidFunction entry) {
  auto* args = reinterpret_cast<uint8_t*>(server_args_.data());
  Encode();
  wire::Decoder decoder({request_.data(), request_.size()}, &arena_, handles_.server());
  codec_.decode_request(decoder, args);
  Answerer(&random_, &handles_, shape_, true).Answer(command_.args, args, Role::kIn, false);
  WriteAs(client_args_ + command_.args.members[0].offset, dispatchable);
  memory_->Snapshot();
  command_.call(client_args_, entry);
  Comparer comparer(&handles_);
  comparer.Reply(command_.args, args, client_args_, Role::kIn, false, memory_);
  if (!comparer.ok()) return comparer.error();
  comparer.Allow(client_args_ + command_.result, command_.result_size);
  const std::string damage = memory_->Damage(comparer.allowed());
  return damage.empty() ? "" : "the call wrote where it may not: " + damage;
}

// Ids of new and destroyed objects, for the server's handle table.
std::string Exchange::CompareIds(const uint8_t* args) {
  for (const Member& m : command_.args.members) {
    if (m.ids == 0) continue;
    const uint8_t* from = m.pointers != 0 ? Pointer(client_args_, m) : client_args_ + m.offset;
    const uint8_t* ids = m.pointers != 0 ? ReadAs<const uint8_t*>(args + m.ids) : args + m.ids;
    const uint64_t n = from == nullptr ? 0 : m.pointers != 0 ? ElementCount(m, client_args_) : 1;
    for (uint64_t i = 0; i < n; ++i) {
      if (ids == nullptr) return std::string(m.name) + ": no ids";
      if (ReadAs<ObjectId>(ids + 8 * i) != handles_.ToId(m.handle, ReadNumber(from + i * m.size, m.size))) {
        return std::string(m.name) + "[" + std::to_string(i) + "]: another id";
      }
    }
  }
  return "";
}

uint64_t Exchange::Called(const uint8_t* args) {
  called_ = true;
  Comparer comparer(&handles_);
  comparer.Request(command_.args, client_args_, args, Role::kIn);
  if (difference_.empty()) difference_ = comparer.error();
  uint64_t result = random_.Next();
  if (!command_.codes.empty()) {
    const bool succeeds = shape_.digit != Shape::kByChance || random_.OneIn(2);
    const int32_t code = succeeds ? command_.codes[0] : command_.codes[random_.Below(command_.codes.size())];
    failed_ = code < 0;
    result = static_cast<uint32_t>(code);
  }
  Answerer(&random_, &handles_, shape_).Answer(command_.args, const_cast<uint8_t*>(args), Role::kIn, failed_);
  return result;
}

std::string Exchange::Return() {
  auto* args = reinterpret_cast<uint8_t*>(server_args_.data());
  wire::Encoder encoder(&reply_, handles_.server());
  codec_.encode_reply(encoder, args);
  memory_->Snapshot();
  Arena arena(kArena);
  wire::Decoder decoder({reply_.data(), reply_.size()}, &arena, handles_.client());
  codec_.decode_reply(decoder, client_args_);
  if (!decoder.ok()) return std::string("the reply does not decode: ") + decoder.error();
  if (decoder.remaining() != 0) return std::to_string(decoder.remaining()) + " bytes of the reply are not read";
  if (!handles_.error().empty()) return handles_.error();
  Comparer comparer(&handles_);
  comparer.Reply(command_.args, args, client_args_, Role::kIn, failed_, memory_);
  if (!comparer.ok()) return comparer.error();
  if (command_.result_size != 0) {
    comparer.Allow(client_args_ + command_.result, command_.result_size);
    if (std::memcmp(args + command_.result, client_args_ + command_.result, command_.result_size) != 0) {
      return "another result";
    }
  }
  const std::string damage = memory_->Damage(comparer.allowed());
  return damage.empty() ? "" : "the reply wrote where it may not: " + damage;
}

void Reach(const Struct& s, Role role, Filler::Visited* found) {
  for (const Member& m : s.members) {
    if (m.type == nullptr || IsReturnedPointer(m, role)) continue;
    const Role inner = m.is_written ? Role::kOut : m.pointers != 0 ? Role::kIn : role;
    if (found->insert({m.type, inner}).second) Reach(*m.type, inner, found);
  }
  for (const Member& m : s.members) {
    if (m.what != What::kChain) continue;
    for (const Struct* each : s.extenders) {
      if (found->insert({each, ChainRole(m, role)}).second) Reach(*each, ChainRole(m, role), found);
    }
  }
}

size_t LongestChain(const CommandTable& command) {
  Filler::Visited found;
  Reach(command.args, Role::kIn, &found);
  size_t longest = 0;
  for (const auto& [each, role] : found) longest = std::max(longest, each->extenders.size());
  return longest;
}

std::vector<Shape> Shapes(const CommandTable& command) {
  const size_t chains = LongestChain(command);
  std::vector<Shape> shapes;
  for (size_t round = 0; round < kRounds; ++round) {
    for (size_t i = 0; i < chains; ++i) shapes.push_back({round != 1, i, round < 2 ? Shape::kByChance : round - 2});
  }
  for (size_t i = 0; i < kRandomIterations; ++i) shapes.push_back({shapes.size() % 2 == 0});
  return shapes;
}

std::string RoundTrip(const CommandTable& command) {
  const std::vector<Shape> shapes = Shapes(command);
  for (size_t i = 0; i < shapes.size(); ++i) {
    Exchange exchange(command, 1000 + i, shapes[i], i % 4 == 3);
    exchange.Encode();
    const std::string there = exchange.Deliver();
    const std::string back = there.empty() ? exchange.Return() : "";
    if (!there.empty() || !back.empty()) {
      return "iteration " + std::to_string(i) + (there.empty() ? ", reply: " + back : ", request: " + there);
    }
  }
  return "";
}

}  // namespace vesper::test
