#include "runtime/wire/chain.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>

#include "runtime/wire/limits.h"

namespace vesper::wire {
namespace {

const ChainCodec* Find(ChainTable table, int32_t type) {
  const auto found = std::lower_bound(table.begin(), table.end(), type,
                                      [](const ChainCodec* codec, int32_t wanted) { return codec->type < wanted; });
  return found != table.end() && (*found)->type == type ? *found : nullptr;
}

constexpr size_t kMemberHeader = 8;  // sType, length

// Outputs are filled with it before the callee sees them. No struct of results is made of it alone.
constexpr uint8_t kUnwritten = 0xA5;

// Whether the encoded values are what DecodeChain put there; a chain of their own, which stays empty, ends them.
bool IsUnwritten(std::span<const uint8_t> body) {
  constexpr size_t kEmptyChain = 4;
  if (body.size() <= kEmptyChain) return false;
  const auto is = [](uint8_t byte) { return [byte](uint8_t each) { return each == byte; }; };
  return std::all_of(body.begin(), body.end() - kEmptyChain, is(kUnwritten)) &&
         std::all_of(body.end() - kEmptyChain, body.end(), is(0));
}

// A member travels without its followers, which are members of the same chain: encoded as it is, one that may have a chain
// of its own would send them again.
void EncodeMember(Encoder& e, const ChainHeader* member, uint32_t size, void (*encode)(Encoder&, const void*)) {
  Store(e.Take(4), member->type);
  const size_t length = e.Mark();
  e.Take(4);
  alignas(std::max_align_t) uint8_t alone[kMaxFixedPart];
  if (member->next != nullptr && size <= sizeof(alone)) {
    constexpr ChainHeader* kNothing = nullptr;
    std::memcpy(alone, member, size);
    std::memcpy(alone + offsetof(ChainHeader, next), &kNothing, sizeof(kNothing));
    encode(e, alone);
  } else {
    encode(e, member);
  }
  e.Patch32(length, static_cast<uint32_t>(e.Mark() - length - 4));
}

}  // namespace

void EncodeChain(Encoder& e, const void* chain, ChainTable table) {
  const size_t mark = e.Mark();
  e.Take(4);
  uint32_t count = 0;
  for (const auto* member = static_cast<const ChainHeader*>(chain); member != nullptr; member = member->next) {
    const ChainCodec* codec = Find(table, member->type);
    if (codec == nullptr || (e.offered_only() && codec->needs == kNotOffered)) continue;
    EncodeMember(e, member, codec->size, codec->encode);
    ++count;
  }
  e.Patch32(mark, count);
}

void* DecodeChain(Decoder& d, ChainTable table) {
  const uint32_t count = Load<uint32_t>(d.Take(4));
  if (count > kMaxChainLength) d.Fail("a pNext chain is longer than the limit");
  ChainHeader* first = nullptr;
  ChainHeader** link = &first;
  if (!d.Enter()) return nullptr;
  for (uint32_t i = 0; d.ok() && i < count; ++i) {
    const uint8_t* header = d.Take(8);
    const int32_t type = Load<int32_t>(header);
    const uint32_t length = Load<uint32_t>(header + 4);
    const ChainCodec* codec = Find(table, type);
    if (codec == nullptr || !d.IsEnabled(codec->needs)) {
      if (codec != nullptr && codec->refusal != nullptr) d.Fail(codec->refusal);
      d.Skip(length);
      continue;
    }
    auto* member = static_cast<ChainHeader*>(static_cast<void*>(d.Array<uint8_t>(codec->size)));
    const uint8_t* outer = d.Narrow(length);
    if (member == nullptr || outer == nullptr) break;
    if (codec->values) std::memset(member + 1, kUnwritten, codec->size - sizeof(ChainHeader));
    member->type = type;
    codec->decode(d, member);
    d.Widen(outer);
    *link = member;
    link = &member->next;
  }
  d.Leave();
  return first;
}

void EncodeChainReply(Encoder& e, const void* chain, ChainTable table) {
  const size_t mark = e.Mark();
  e.Take(4);
  uint32_t count = 0;
  for (const auto* member = static_cast<const ChainHeader*>(chain); member != nullptr; member = member->next) {
    const ChainCodec* codec = Find(table, member->type);
    if (codec == nullptr || codec->encode_reply == nullptr) continue;
    const size_t start = e.Mark();
    EncodeMember(e, member, codec->size, codec->encode_reply);
    if (codec->values && IsUnwritten(e.Since(start + kMemberHeader))) {
      e.Rewind(start);
      continue;
    }
    ++count;
  }
  e.Patch32(mark, count);
}

void DecodeChainReply(Decoder& d, void* chain, ChainTable table) {
  for (auto* each = static_cast<ChainHeader*>(chain); d.nothing() && each != nullptr; each = each->next) {
    const ChainCodec* codec = Find(table, each->type);
    if (codec != nullptr && codec->decode_reply != nullptr) codec->decode_reply(d, each);
  }
  const uint32_t count = Load<uint32_t>(d.Take(4));
  if (count > kMaxChainLength) d.Fail("a pNext chain is longer than the limit");
  auto* member = static_cast<ChainHeader*>(chain);
  for (uint32_t i = 0; d.ok() && i < count; ++i) {
    const uint8_t* header = d.Take(8);
    const int32_t type = Load<int32_t>(header);
    const uint32_t length = Load<uint32_t>(header + 4);
    const ChainCodec* codec = Find(table, type);
    if (codec == nullptr || codec->decode_reply == nullptr) {  // another registry lets it bring something back
      d.Skip(length);
      continue;
    }
    while (member != nullptr && member->type != type) member = member->next;
    if (member == nullptr) {
      d.Fail("a reply names a chain member that was not sent");
      return;
    }
    const uint8_t* outer = d.Narrow(length);
    if (outer == nullptr) return;
    codec->decode_reply(d, member);
    d.Widen(outer);
    member = member->next;
  }
}

bool HasInChain(const void* chain, int32_t type) {
  for (const auto* member = static_cast<const ChainHeader*>(chain); member != nullptr; member = member->next) {
    if (member->type == type) return true;
  }
  return false;
}

bool ChainEchoes(const void* chain, ChainTable table) {
  for (const auto* member = static_cast<const ChainHeader*>(chain); member != nullptr; member = member->next) {
    const ChainCodec* codec = Find(table, member->type);
    if (codec != nullptr && codec->encode_reply != nullptr) return true;
  }
  return false;
}

}  // namespace vesper::wire
