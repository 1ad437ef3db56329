// pNext chains on the wire: u32 count, then per member u32 sType, u32 length, body. What a side does not know it skips.
// Generated tables say which structs may stand in whose chain; these routines walk them.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/wire/decoder.h"
#include "runtime/wire/encoder.h"

namespace vesper::wire {

// How every struct with a chain begins (VkBaseOutStructure).
struct ChainHeader {
  int32_t type;
  ChainHeader* next;
};

// One struct that may stand in a chain, in one role. A body leaves sType out, and its pNext, which is the
// link here, is encoded as null.
struct ChainCodec {
  int32_t type;
  uint32_t size;   // in C
  uint16_t needs;  // what must be enabled for it
  // Of an input that no valid peer sends: what to say; else null.
  const char* refusal;
  // An output of nothing but values. Where the callee leaves one alone, as a driver does with structs of extensions that it
  // lacks, nothing comes back and what the caller had put there stays.
  bool values;
  void (*encode)(Encoder&, const void*);
  void (*decode)(Decoder&, void*);
  void (*encode_reply)(Encoder&, const void*);  // null: nothing comes back
  void (*decode_reply)(Decoder&, void*);
};

// Sorted by type.
using ChainTable = std::span<const ChainCodec* const>;

// The request walk: contents of an input chain, shape of an output chain.
void EncodeChain(Encoder& e, const void* chain, ChainTable table);
// The chain, in the arena, without what is not known.
void* DecodeChain(Decoder& d, ChainTable table);

// The reply walk: what the callee wrote into `chain`, and back into the caller's.
void EncodeChainReply(Encoder& e, const void* chain, ChainTable table);
void DecodeChainReply(Decoder& d, void* chain, ChainTable table);

// Whether a struct of this type stands in the chain.
bool HasInChain(const void* chain, int32_t type);
// Whether anything in the chain brings something back.
bool ChainEchoes(const void* chain, ChainTable table);

// Helpers of generated code.
template <typename T, typename Count, typename Flags>
bool AnyHas(const T* items, Count count, Flags flags) {
  for (Count i = 0; items != nullptr && i < count; ++i) {
    if ((items[i].flags & flags) != 0) return true;
  }
  return false;
}
template <typename T, typename Count>
bool AnyHasInChain(const T* items, Count count, int32_t type) {
  for (Count i = 0; items != nullptr && i < count; ++i) {
    if (HasInChain(items[i].pNext, type)) return true;
  }
  return false;
}
template <typename T>
T Value(const T* pointer) {
  return pointer == nullptr ? T{} : *pointer;
}
template <typename T, typename Count, typename Predicate>
bool AnyOf(const T* items, Count count, Predicate predicate) {
  for (Count i = 0; items != nullptr && i < count; ++i) {
    if (predicate(items[i])) return true;
  }
  return false;
}

}  // namespace vesper::wire
