#include "runtime/wire/encoder.h"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <utility>

namespace vesper::wire {

ByteBuffer::~ByteBuffer() { std::free(data_); }

void ByteBuffer::Grow(size_t count) {
  const size_t wanted = std::max(size_ + count, std::max<size_t>(256, 2 * capacity_));
  void* grown = std::realloc(data_, wanted);
  if (grown == nullptr) throw std::bad_alloc();
  data_ = static_cast<uint8_t*>(grown);
  capacity_ = wanted;
}

void ByteBuffer::Swap(ByteBuffer& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(capacity_, other.capacity_);
}

void Encoder::String(const char* text) {
  const size_t length = std::strlen(text);
  Store(Take(4), static_cast<uint32_t>(length));
  Bytes(text, length);
}

void Encoder::Strings(const char* const* texts, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) String(texts[i]);
}

}  // namespace vesper::wire
