#include "runtime/wire/decoder.h"

namespace vesper::wire {
namespace {

alignas(16) constexpr uint8_t kZeros[kMaxFixedPart] = {};

}  // namespace

const uint8_t* Decoder::Short() {
  if (!nothing_) Fail("the message is shorter than its contents");
  return kZeros;
}

uint32_t Decoder::TooMany() {
  Fail("an array is longer than its message");
  return 0;
}

uint32_t Decoder::OutputCount(uint64_t count, size_t element_size) {
  if (error_ == nullptr && count <= kMaxOutputBytes / std::max<size_t>(element_size, 1) &&
      count <= (element_size == 1 ? kMaxOutputBytes : kMaxOutputElements)) {
    return static_cast<uint32_t>(count);
  }
  Fail("an output array is larger than the limit");
  return 0;
}

void* Decoder::NoMemory(const char* why) {
  Fail(why);
  return nullptr;
}

void Decoder::CopyTo(void* to, size_t size) {
  if (nothing_ && to != nullptr && size != 0) std::memset(to, 0, size);
  if (remaining() < size || to == nullptr) {
    Short();
    return;
  }
  if (size != 0) std::memcpy(to, cursor_, size);  // an empty message has no address
  cursor_ += size;
}

void Decoder::Skip(size_t count) {
  if (remaining() < count) {
    Short();
    return;
  }
  cursor_ += count;
}

const char* Decoder::String() {
  const uint32_t length = Count(Load<uint32_t>(Take(4)), 1);
  char* text = Array<char>(uint64_t{length} + 1);
  if (text == nullptr) return "";
  CopyTo(text, length);
  text[length] = '\0';
  return text;
}

const char* const* Decoder::Strings(uint32_t count) {
  const char** texts = Array<const char*>(Count(count, 4));
  for (uint32_t i = 0; ok() && i < count; ++i) texts[i] = String();
  return texts;
}

}  // namespace vesper::wire
