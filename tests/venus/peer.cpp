#include "tests/venus/peer.h"

#include <algorithm>
#include <cstring>

#include "server/venus/walker.h"

namespace vesper::test {
namespace {

using venus::FindChained;
using venus::kNextOffset;
using venus::Member;
using venus::Struct;
using venus::What;

template <typename T>
T At(const uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

uint64_t CountOf(const Member& m, const uint8_t* owner) {
  if (m.count >= 0) return At<uint32_t>(owner + m.count);
  return m.length == nullptr ? 1 : m.length(owner);
}

size_t SizeInC(const Member& m) {
  return m.what == What::kStruct ? m.type->size : m.what == What::kPlain ? m.size : sizeof(uint64_t);
}

bool IsBytes(const Member& m) { return m.size == 1 && (m.pointer || m.extent != 0); }

class Request {
 public:
  explicit Request(wire::ByteBuffer* out) : out_(out) {}

  template <typename T>
  void Put(T value) {
    out_->Append(&value, sizeof(value));
  }

  void Argument(const Member& m, uint8_t* owner) {
    if (!m.pointer || !m.output) return Value(m, owner, false);
    uint8_t* at = At<uint8_t*>(owner + m.offset);
    const uint64_t count = at == nullptr ? 0 : CountOf(m, owner);
    Put(count);
    if (count == 0) std::memset(owner + m.offset, 0, sizeof(void*));
    if (m.what == What::kHandle || (m.what == What::kPlain && m.counts)) Elements(m, at, count, 0, false);
    if (m.what == What::kStruct) Elements(m, at, count, 0, true);
  }

 private:
  void Value(const Member& m, uint8_t* owner, bool shape) {
    if (m.what == What::kAbsent) return Put(uint64_t{0});
    if (m.what == What::kChain) return;
    if (m.what == What::kString) return Text(At<const char*>(owner + m.offset));
    if (!m.pointer) {
      if (m.extent != 0) Put(uint64_t{m.extent});
      return Elements(m, owner + m.offset, m.extent != 0 ? m.extent : 1, 0, shape);
    }
    uint8_t* at = At<uint8_t*>(owner + m.offset);
    const uint64_t count = at == nullptr ? 0 : CountOf(m, owner);
    Put(count);
    if (count == 0) std::memset(owner + m.offset, 0, sizeof(void*));  // what is empty arrives as null
    if (m.what == What::kStrings) {
      for (uint64_t i = 0; i < count; ++i) Text(At<const char*>(at + i * sizeof(char*)));
      return;
    }
    Elements(m, at, count, m.stride >= 0 ? At<uint32_t>(owner + m.stride) : 0, shape);
  }

  void Text(const char* text) {
    const uint64_t size = text == nullptr ? 0 : std::strlen(text) + 1;
    Put(size);
    Bytes(reinterpret_cast<const uint8_t*>(text), size);
  }

  void Bytes(const uint8_t* bytes, uint64_t count) {
    out_->Append(bytes, count);
    for (; count % 4 != 0; ++count) Put(uint8_t{0});
  }

  void Elements(const Member& m, uint8_t* at, uint64_t count, size_t stride, bool shape) {
    if (m.what == What::kPlain && shape && !m.counts) return;
    if (m.what == What::kPlain && IsBytes(m)) return Bytes(at, count);
    if (stride == 0) stride = SizeInC(m);
    for (uint64_t i = 0; i < count; ++i) {
      uint8_t* each = at + i * stride;
      if (m.what == What::kStruct) {
        StructValue(*m.type, each, shape);
      } else {
        Bytes(each, SizeInC(m));
      }
    }
  }

  void StructValue(const Struct& type, uint8_t* at, bool shape) {
    if (type.is_union) {
      Put(type.tag);
      return Value(type.members[type.tag], at, shape);
    }
    if (type.chained) {
      Put(type.type);
      Chain(at, shape);
    }
    Body(type, at, shape);
  }

  void Body(const Struct& type, uint8_t* at, bool shape) {
    for (const Member& m : type.members) {
      if (!shape || m.what != What::kPlain || m.pointer || m.counts) Value(m, at, shape);
    }
  }

  void Chain(uint8_t* owner, bool shape) {
    std::vector<std::pair<const Struct*, uint8_t*>> links;
    uint8_t* last = owner;
    for (uint8_t* at = At<uint8_t*>(owner + kNextOffset); at != nullptr; at = At<uint8_t*>(at + kNextOffset)) {
      const Struct* type = FindChained(At<int32_t>(at));
      if (type == nullptr) continue;
      std::memcpy(last + kNextOffset, &at, sizeof(at));
      last = at;
      links.emplace_back(type, at);
      Put(uint64_t{1});
      Put(type->type);
    }
    std::memset(last + kNextOffset, 0, sizeof(void*));
    Put(uint64_t{0});
    for (auto link = links.rbegin(); link != links.rend(); ++link) Body(*link->first, link->second, shape);
  }

  wire::ByteBuffer* const out_;
};

class Reply {
 public:
  explicit Reply(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  template <typename T>
  T Take() {
    T value{};
    Copy(reinterpret_cast<uint8_t*>(&value), sizeof(value));
    return value;
  }
  void Copy(uint8_t* to, size_t size) {
    if (size > bytes_.size()) return Fail("the reply ends early");
    if (size != 0) std::memcpy(to, bytes_.data(), size);  // nothing may have no address
    bytes_ = bytes_.subspan(size);
  }
  void Bytes(uint8_t* to, size_t size) {
    Copy(to, size);
    for (; size % 4 != 0; ++size) {
      if (Take<uint8_t>() != 0) Fail("padding that is not zero");
    }
  }
  void Fail(std::string what) {
    if (error_.empty()) error_ = std::move(what);
  }
  const std::string& Finish() {
    if (!bytes_.empty()) Fail(std::to_string(bytes_.size()) + " bytes of the reply are left");
    return error_;
  }

  void Pointer(const Member& m, uint8_t* owner) {
    const auto count = Take<uint64_t>();
    uint8_t* at = At<uint8_t*>(owner + m.offset);
    const uint64_t expected = at == nullptr ? 0 : CountOf(m, owner);
    if (count != expected && !(m.counts && count == 1)) {
      return Fail(std::to_string(count) + " elements instead of " + std::to_string(expected));
    }
    if (error_.empty()) Elements(m, at, count);
  }

 private:
  void Value(const Member& m, uint8_t* owner) {
    if (m.what == What::kChain || m.what == What::kStrings) return;
    if (m.what == What::kString || m.pointer) return Pointer(m, owner);
    if (m.extent != 0 && Take<uint64_t>() != m.extent) Fail("a fixed array of another size");
    Elements(m, owner + m.offset, m.extent != 0 ? m.extent : 1);
  }

  void Elements(const Member& m, uint8_t* at, uint64_t count) {
    if (m.what == What::kPlain && IsBytes(m)) return Bytes(at, count);
    for (uint64_t i = 0; i < count && error_.empty(); ++i) {
      if (m.what == What::kStruct) {
        StructValue(*m.type, at + i * m.type->size);
      } else {
        Bytes(at + i * SizeInC(m), SizeInC(m));
      }
    }
  }

  void StructValue(const Struct& type, uint8_t* at) {
    if (type.is_union) {
      if (Take<uint32_t>() != type.tag) Fail("another member of a union");
      return Value(type.members[type.tag], at);
    }
    if (type.chained) {
      if (Take<int32_t>() != type.type) Fail("another struct");
      Chain(At<uint8_t*>(at + kNextOffset));
    }
    Body(type, at);
  }

  void Body(const Struct& type, uint8_t* at) {
    for (const Member& m : type.members) Value(m, at);
  }

  void Chain(uint8_t* at) {
    std::vector<std::pair<const Struct*, uint8_t*>> links;
    for (; at != nullptr; at = At<uint8_t*>(at + kNextOffset)) {
      links.emplace_back(FindChained(At<int32_t>(at)), at);
      if (Take<uint64_t>() != 1 || Take<int32_t>() != links.back().first->type) return Fail("another chain");
    }
    if (Take<uint64_t>() != 0) return Fail("a longer chain");
    for (auto link = links.rbegin(); link != links.rend(); ++link) Body(*link->first, link->second);
  }

  std::span<const uint8_t> bytes_;
  std::string error_;
};

}  // namespace

void WriteRequest(const venus::CommandTable& command, uint8_t* args, wire::ByteBuffer* out) {
  Request request(out);
  request.Put(command.number);
  request.Put(uint32_t{1});
  for (const Member& m : command.arguments.members) request.Argument(m, args);
}

std::string ReadReply(const venus::CommandTable& command, std::span<const uint8_t> bytes, uint8_t* args) {
  Reply reply(bytes);
  if (reply.Take<uint32_t>() != command.number) reply.Fail("another command");
  reply.Copy(args + command.result, command.result_size);
  for (const Member& m : command.arguments.members) {
    if (m.pointer && m.output) reply.Pointer(m, args);
  }
  return reply.Finish();
}

}  // namespace vesper::test
