// Reads the dense bytes of commands and replies from an untrusted peer; generated/wire calls it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include "runtime/arena.h"
#include "runtime/wire/around.h"
#include "runtime/wire/handle_mapper.h"
#include "runtime/wire/limits.h"

namespace vesper::wire {

template <typename T>
T Load(const uint8_t* at) {
  static_assert(std::is_trivially_copyable_v<T>);
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

// Once a read fails the error stays: later reads give zeros and nulls, loops run zero times, and whoever asked for the
// decoding checks ok() once at the end. Pointers in decoded structs belong to the arena. Not thread-safe.
class Decoder {
 public:
  // `bytes` must stay valid and unchanged while decoding. Without `handles` an id is the handle.
  Decoder(std::span<const uint8_t> bytes, Arena* arena, HandleMapper* handles = nullptr)
      : cursor_(bytes.data()), end_(bytes.data() + bytes.size()), arena_(arena), handles_(handles) {}

  // Begins anew, with other bytes.
  void Restart(std::span<const uint8_t> bytes, Arena* arena) {
    cursor_ = bytes.data();
    end_ = bytes.data() + bytes.size();
    arena_ = arena;
    error_ = nullptr;
    nesting_ = 0;
    around_ = {};
  }

  // Of an answer that never came: every value is zero and every count 0, and nothing of it is wrong. For replies, which are
  // decoded into the caller's memory: there is no arena.
  static Decoder Nothing(HandleMapper* handles) {
    Decoder d({}, nullptr, handles);
    d.nothing_ = true;
    return d;
  }
  bool nothing() const { return nothing_; }

  // The innermost struct around what is being decoded that lengths may look at (policy `surrounds`).
  const Around& around() const { return around_; }

  bool ok() const { return error_ == nullptr; }
  // What was wrong first, or nullptr.
  const char* error() const { return error_; }
  void Fail(const char* error) {
    if (error_ == nullptr) error_ = error;
    cursor_ = end_;
  }
  size_t remaining() const { return static_cast<size_t>(end_ - cursor_); }

  // The next `count` bytes (at most kMaxFixedPart), or that many zeros after an error.
  const uint8_t* Take(size_t count) {
    if (remaining() < count) return Short();
    const uint8_t* result = cursor_;
    cursor_ += count;
    return result;
  }

  // `count` as the number of elements to decode: 0 after failing when the bytes that remain cannot hold so many, each
  // taking `element_bytes` or more on the wire.
  uint32_t Count(uint64_t count, size_t element_bytes) {
    const bool fits = element_bytes <= 1 ? count <= remaining() : count <= remaining() / element_bytes;
    if (error_ == nullptr && fits && count <= UINT32_MAX) [[likely]]
      return static_cast<uint32_t>(count);
    return TooMany();
  }
  // The same for elements that the callee will write: bounded by limits.h alone.
  uint32_t OutputCount(uint64_t count, size_t element_size);

  // Zeroed memory for `count` values; never nullptr unless an error is set.
  template <typename T>
  T* Array(uint64_t count) {
    static_assert(std::is_trivially_copyable_v<T>);
    void* result = Reserve(count, sizeof(T));
    if (result != nullptr) std::memset(result, 0, static_cast<size_t>(count) * sizeof(T));
    return static_cast<T*>(result);
  }
  // `count` values copied as they lie on the wire; never nullptr unless an error is set.
  template <typename T>
  T* Copy(uint64_t count) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (count > remaining() / sizeof(T)) {  // and so ends too early
      T* result = Array<T>(count);
      Short();
      return result;
    }
    T* result = static_cast<T*>(Reserve(count, sizeof(T)));
    if (result == nullptr || count == 0) return result;  // an empty message has no address
    std::memcpy(result, cursor_, static_cast<size_t>(count) * sizeof(T));
    cursor_ += static_cast<size_t>(count) * sizeof(T);
    return result;
  }
  void CopyTo(void* to, size_t size);
  // Bytes to be ignored, as those of a chain member that is not known here.
  void Skip(size_t count);

  const char* String();
  const char* const* Strings(uint32_t count);

  template <typename H>
  H Handle(HandleType type, ObjectId id, HandleUse use) {
    uint64_t raw = 0;
    if (id != kNullObject) {
      if (handles_ == nullptr) {
        raw = id;
      } else if (!handles_->FromWire(type, id, use, &raw)) {
        Fail("an id that was never minted");
      }
    }
    H handle{};
    std::memcpy(&handle, &raw, sizeof(H));
    return handle;
  }

  // Limits reading to the next `length` bytes; Widen() with the result skips what was left of them and lifts the limit.
  // nullptr after failing.
  const uint8_t* Narrow(size_t length) {
    if (remaining() < length) {
      Short();
      return nullptr;
    }
    const uint8_t* outer = end_;
    end_ = cursor_ + length;
    return outer;
  }
  void Widen(const uint8_t* outer) {
    cursor_ = error_ == nullptr ? end_ : outer;
    end_ = outer;
  }

  // Whether a struct that needs this is taken; others are passed over.
  bool IsEnabled(uint16_t needs) const {
    return needs == kNeedsNothing || handles_ == nullptr || handles_->IsEnabled(needs);
  }

  // The next frame (Encoder::BeginFrame), which reading is limited to until Widen(). nullptr when there is none or after
  // failing.
  const uint8_t* NextFrame(uint32_t* tag) {
    if (!ok() || remaining() == 0) return nullptr;
    const uint8_t* head = Take(8);
    *tag = Load<uint32_t>(head);
    return Narrow(Load<uint32_t>(head + 4));
  }

  // The ids that the peer minted for `count` new objects.
  const ObjectId* NewIds(HandleType type, uint32_t count) {
    const ObjectId* ids = Copy<ObjectId>(Count(count, sizeof(ObjectId)));
    if (ok() && handles_ != nullptr && !handles_->NewIds(type, ids, count)) Fail("an id that nobody can mint");
    return ids;
  }

  // Guards recursion: pNext chains and nested structs. Leave() for every Enter().
  bool Enter() {
    if (++nesting_ <= kMaxNesting) return true;
    Fail("nested too deeply");
    return false;
  }
  void Leave() { --nesting_; }

 private:
  template <typename Codec>
  friend class Inside;

  const uint8_t* Short();
  uint32_t TooMany();
  void* NoMemory(const char* why);
  void* Reserve(uint64_t count, size_t size) {
    if (error_ != nullptr || count > kMaxArenaBytes / size) [[unlikely]]
      return NoMemory("an array is larger than the limit");
    void* result = arena_->Reserve(static_cast<size_t>(count) * size);
    if (result == nullptr) [[unlikely]]
      return NoMemory("a command needs more memory than the limit");
    return result;
  }

  const uint8_t* cursor_;
  const uint8_t* end_;
  Arena* arena_;
  HandleMapper* handles_;
  Around around_;
  const char* error_ = nullptr;
  uint32_t nesting_ = 0;
  bool nothing_ = false;
};

}  // namespace vesper::wire
