// Members side by side and arrays behind pointers, as generated/wire encodes and decodes them. Encode() and Decode() of an
// element are found by the compiler among those of generated/wire/structs.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "runtime/wire/decoder.h"
#include "runtime/wire/encoder.h"

namespace vesper::wire {

// Values whose bytes in C are their bytes on the wire, one after the other.
template <typename... T>
void StoreAll(uint8_t* at, const T&... values) {
  ((std::memcpy(at, &values, sizeof(T)), at += sizeof(T)), ...);
}
template <typename... T>
void LoadAll(const uint8_t* at, T&... values) {
  ((std::memcpy(&values, at, sizeof(T)), at += sizeof(T)), ...);
}

// Arrays of such values.
template <typename T>
void EncodeCopy(Encoder& e, const T* items, uint64_t count) {
  e.Bytes(items, static_cast<size_t>(count) * sizeof(T));
}
template <typename T>
T* DecodeCopy(Decoder& d, uint64_t count) {
  return d.Copy<T>(d.Count(count, sizeof(T)));
}
// Into memory of the caller's; nothing where the bytes end too early.
template <typename T>
void DecodeInto(Decoder& d, T* items, uint64_t count) {
  if (d.ok()) d.CopyTo(items, static_cast<size_t>(count) * sizeof(T));
}

// Structs that hold pointers; each takes `least` bytes or more.
template <typename T>
void EncodeEach(Encoder& e, const T* items, uint64_t count) {
  for (uint64_t i = 0; i < count; ++i) Encode(e, items[i]);
}
template <typename T>
T* DecodeEach(Decoder& d, uint64_t count, size_t least) {
  const uint32_t n = d.Count(count, least);
  T* items = d.Array<T>(n);
  for (uint32_t i = 0; d.ok() && i < n; ++i) Decode(d, items[i]);
  return items;
}
template <typename T>
T* DecodeOne(Decoder& d, size_t least) {
  return DecodeEach<T>(d, 1, least);
}

// Zeroed memory for what the callee will write, bounded by limits.h alone.
template <typename T>
T* DecodeOutput(Decoder& d, uint64_t count) {
  return d.Array<T>(d.OutputCount(count, sizeof(T)));
}

}  // namespace vesper::wire
