// Writes the dense bytes of commands and replies; generated/wire calls it. See docs/wire.md for the format.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

#include "runtime/wire/around.h"
#include "runtime/wire/handle_mapper.h"

namespace vesper::wire {

static_assert(std::endian::native == std::endian::little, "the wire is little-endian and copied as it is");

// A growing byte array that does not initialise what it grows by. Throws std::bad_alloc.
class ByteBuffer {
 public:
  ByteBuffer() = default;
  ByteBuffer(const ByteBuffer&) = delete;
  ByteBuffer& operator=(const ByteBuffer&) = delete;
  ByteBuffer(ByteBuffer&& other) noexcept { Swap(other); }
  ByteBuffer& operator=(ByteBuffer&& other) noexcept {
    Swap(other);
    return *this;
  }
  ~ByteBuffer();

  const uint8_t* data() const { return data_; }
  uint8_t* data() { return data_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  void clear() { size_ = 0; }
  void Truncate(size_t size) { size_ = size; }

  // Appends `count` bytes of indeterminate value; the pointer is valid until the next append.
  uint8_t* Append(size_t count) {
    if (capacity_ - size_ < count) Grow(count);
    uint8_t* result = data_ + size_;
    size_ += count;
    return result;
  }
  void Append(const void* bytes, size_t count) {
    if (count != 0) std::memcpy(Append(count), bytes, count);
  }

 private:
  void Grow(size_t count);
  void Swap(ByteBuffer& other) noexcept;

  uint8_t* data_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

template <typename T>
void Store(uint8_t* at, T value) {
  static_assert(std::is_trivially_copyable_v<T>);
  std::memcpy(at, &value, sizeof(T));
}

// Writes into a ByteBuffer that the caller owns. Not thread-safe. Throws std::bad_alloc; entry points catch it.
class Encoder {
 public:
  // `handles` is null in the client: there the value of a non-dispatchable handle is its id and a dispatchable one points
  // to a DispatchableHeader.
  explicit Encoder(ByteBuffer* out, const HandleMapper* handles = nullptr) : out_(out), handles_(handles) {}

  // Space for `count` bytes, to be written before the next call.
  uint8_t* Take(size_t count) { return out_->Append(count); }
  void Bytes(const void* bytes, size_t count) { out_->Append(bytes, count); }
  // u32 length and the characters without the terminating zero.
  void String(const char* text);
  // `count` strings, one after the other; the count itself travels elsewhere.
  void Strings(const char* const* texts, uint32_t count);

  // A position to be patched when what follows is known.
  size_t Mark() const { return out_->size(); }
  // What was written from there on, until the next append, and taking it back.
  std::span<const uint8_t> Since(size_t mark) const { return {out_->data() + mark, out_->size() - mark}; }
  void Rewind(size_t mark) { out_->Truncate(mark); }
  void Patch32(size_t mark, uint32_t value) { Store(out_->data() + mark, value); }

  // From now on chains travel without what is of extensions that nobody is offered: programs chain it all the same.
  void LeaveOutWhatIsNotOffered() { offered_only_ = true; }
  bool offered_only() const { return offered_only_; }

  // The innermost struct around what is being encoded that conditions may look at (policy `surrounds`).
  const Around& around() const { return around_; }

  // A frame is u32 tag, u32 length and contents: a reader that does not know the tag skips it.
  size_t BeginFrame(uint32_t tag) {
    Store(Take(4), tag);
    Take(4);
    return Mark();
  }
  void EndFrame(size_t begin) { Patch32(begin - 4, static_cast<uint32_t>(Mark() - begin)); }

  // The id of a non-dispatchable handle.
  template <typename H>
  ObjectId Id(HandleType type, H handle) const {
    uint64_t raw = 0;
    static_assert(sizeof(H) <= sizeof(raw));
    std::memcpy(&raw, &handle, sizeof(H));
    return handles_ == nullptr ? raw : raw == 0 ? kNullObject : handles_->ToWire(type, raw);
  }
  // The id of a dispatchable handle.
  template <typename H>
  ObjectId DispatchableId(HandleType type, H handle) const {
    static_assert(std::is_pointer_v<H>);
    if (handle == nullptr) return kNullObject;
    if (handles_ == nullptr) return reinterpret_cast<const DispatchableHeader*>(handle)->id;
    return handles_->ToWire(type, reinterpret_cast<uintptr_t>(handle));
  }
  // The id of a handle that stands in an integer beside its object type.
  ObjectId HiddenId(HandleType type, bool dispatchable, uint64_t raw) const {
    if (!dispatchable) return Id(type, raw);
    return DispatchableId(type, reinterpret_cast<const void*>(static_cast<uintptr_t>(raw)));
  }

 private:
  template <typename Codec>
  friend class Inside;

  ByteBuffer* out_;
  const HandleMapper* handles_;
  Around around_;
  bool offered_only_ = false;
};

}  // namespace vesper::wire
