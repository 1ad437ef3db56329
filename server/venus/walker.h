// Reads commands from streams of the Venus protocol into the arguments that the session's own codecs take (wire::…Args), and
// writes replies, by the tables of generated/venus. The bytes are an untrusted peer's, copied before they come here: every read
// is bounded, and what a driver would take a length from is compared with what came.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "runtime/arena.h"
#include "runtime/wire/encoder.h"
#include "server/venus/tables.h"

namespace vesper::venus {

// The peer's numbers of objects, and what stands for them in arguments.
class Objects {
 public:
  virtual ~Objects() = default;
  // What is known under the number; 0 for what is not, or is of another type.
  virtual uint64_t Find(HandleType type, uint64_t number) const = 0;
  virtual uint64_t NumberOf(uint64_t handle) const = 0;
  // Handles for new objects. False where there are no more.
  virtual bool Make(HandleType type, std::span<const uint64_t> numbers, uint64_t* handles) = 0;
};

// One stream, or what is left of it. Once a read fails the error stays, and every later read gives zeros. Not thread-safe.
class Reader {
 public:
  // What is read points into the arena, whose memory holds zeros at first.
  Reader(std::span<const uint8_t> bytes, Arena* arena, Objects* objects)
      : bytes_(bytes), arena_(arena), objects_(objects) {}

  bool ok() const { return error_ == nullptr; }
  const char* error() const { return error_; }
  void Fail(const char* error) {
    if (error_ == nullptr) error_ = error;
    at_ = bytes_.size();
  }
  size_t at() const { return at_; }
  size_t remaining() const { return bytes_.size() - at_; }

  uint32_t U32() { return Number<uint32_t>(); }
  uint64_t U64() { return Number<uint64_t>(); }

  // The command's parameters, as they follow its number and flags; `args` has room for the command's wire::…Args and holds zeros.
  void Request(const CommandTable& command, uint8_t* args);
  // A struct as it stands behind a pointer, with its sType and chain, which must be `type`'s.
  void Value(const Struct& type, uint8_t* at) { StructValue(type, at, false); }

  // Of the command that was read: the peer's numbers of the objects that it makes.
  const std::vector<uint64_t>& made() const { return made_; }
  // Whether a chain held this struct of the protocol's own, which are left out of what is read.
  bool Held(const Struct& own) const;

 private:
  template <typename T>
  T Number() {
    T value = 0;
    if (remaining() < sizeof(T)) {
      Fail("the stream ends within a command");
      return value;
    }
    std::memcpy(&value, bytes_.data() + at_, sizeof(T));
    at_ += sizeof(T);
    return value;
  }
  void Bytes(uint8_t* to, uint64_t count);
  uint8_t* Room(uint64_t count, uint64_t size, bool output);
  uint64_t CountOf(const Member& m, const uint8_t* owner);
  bool Fits(const Member& m, const uint8_t* owner, uint64_t count);

  void Argument(const Member& m, uint8_t* owner);
  void Output(const Member& m, uint8_t* owner);
  void NewHandles(const Member& m, uint8_t* owner);
  void MemberValue(const Member& m, uint8_t* owner, bool shape);
  void Pointer(const Member& m, uint8_t* owner, bool shape);
  const char* String();
  void Strings(const Member& m, uint8_t* owner);
  void Elements(const Member& m, uint8_t* at, uint64_t count, bool shape);
  void StructValue(const Struct& type, uint8_t* at, bool shape);
  void Body(const Struct& type, uint8_t* at, bool shape);
  void* Chain(bool shape);

  const std::span<const uint8_t> bytes_;
  size_t at_ = 0;
  Arena* const arena_;
  Objects* const objects_;
  const char* error_ = nullptr;
  uint32_t nesting_ = 0;
  std::vector<uint64_t> made_;
  std::vector<const Struct*> own_;
  struct Late {
    const Member* member;
    const uint8_t* owner;
    uint64_t count;
  };
  std::vector<Late> late_;  // arrays whose counts stand behind them
};

// Writes the reply to a command whose results are in `args`. `made` are the peer's numbers of the objects that it made.
void WriteReply(const CommandTable& command, const uint8_t* args, std::span<const uint64_t> made,
                const Objects& objects, wire::ByteBuffer* out);

// By sType; nullptr for an unknown one.
const Struct* FindChained(int32_t type);

// How structs with a chain begin.
inline constexpr size_t kNextOffset = offsetof(VkBaseOutStructure, pNext);

}  // namespace vesper::venus
