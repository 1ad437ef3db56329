#include "server/venus/walker.h"

#include <algorithm>
#include <cstring>

#include "runtime/wire/limits.h"

namespace vesper::venus {
namespace {

template <typename T>
T LoadAt(const uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

template <typename T>
void StoreAt(uint8_t* at, T value) {
  std::memcpy(at, &value, sizeof(T));
}

size_t SizeInC(const Member& m) {
  switch (m.what) {
    case What::kStruct:
      return m.type->size;
    case What::kPlain:
      return m.size;
    default:
      return sizeof(uint64_t);
  }
}

// The least that an element takes in a stream, so that a count is bounded by the bytes that there are.
size_t LeastInStream(const Member& m) {
  if (m.what == What::kPlain) return m.size == 1 ? 1 : std::max<size_t>(m.size, 4);
  return m.what == What::kHandle || m.what == What::kStrings ? 8 : 0;
}

// Of an output's members the request holds what says how much room there is.
bool IsOfShape(const Member& m) { return m.what != What::kPlain || m.pointer || m.counts; }

}  // namespace

const Struct* FindChained(int32_t type) {
  const auto found = std::lower_bound(kChained.begin(), kChained.end(), type,
                                      [](const Struct* s, int32_t wanted) { return s->type < wanted; });
  return found != kChained.end() && (*found)->type == type ? *found : nullptr;
}

void Reader::Bytes(uint8_t* to, uint64_t count) {
  if (count > remaining() || remaining() - count < (4 - count % 4) % 4) return Fail("the stream ends within bytes");
  if (to != nullptr && count != 0) std::memcpy(to, bytes_.data() + at_, count);
  at_ += static_cast<size_t>((count + 3) / 4 * 4);
}

// Zeroed memory for `count` elements, of which a stream that holds them could have no more than it has bytes.
uint8_t* Reader::Room(uint64_t count, uint64_t size, bool output) {
  if (count > (output ? wire::kMaxOutputElements : uint64_t{1} << 32) || count * size > wire::kMaxOutputBytes) {
    Fail("an array is too large");
    return nullptr;
  }
  auto* room = static_cast<uint8_t*>(arena_->Allocate(static_cast<size_t>(count * size)));
  if (room == nullptr) Fail("the command takes too much memory");
  return room;
}

uint64_t Reader::CountOf(const Member& m, const uint8_t* owner) {
  if (m.count >= 0) return LoadAt<uint32_t>(owner + m.count);
  return m.length == nullptr ? 1 : m.length(owner);
}

// A null pointer fits any count; whether it may be null is for the session's codec to say. A count may stand behind its array.
bool Reader::Fits(const Member& m, const uint8_t* owner, uint64_t count) {
  if (!ok() || count == 0) return ok();
  if (!m.array && count != 1) Fail("several of what there is one of");
  if (m.array && count != CountOf(m, owner)) late_.push_back({&m, owner, count});
  return ok();
}

void Reader::Request(const CommandTable& command, uint8_t* args) {
  made_.clear();
  own_.clear();
  late_.clear();
  for (const Member& m : command.arguments.members) Argument(m, args);
  for (const Late& late : late_) {
    if (late.count != CountOf(*late.member, late.owner)) Fail("an array is not as long as its count says");
  }
  for (const Member& m : command.arguments.members) {  // it stands behind the array
    if (m.stride >= 0) StoreAt(args + m.stride, static_cast<uint32_t>(m.unit));
  }
}

void Reader::Argument(const Member& m, uint8_t* owner) {
  if (m.pointer && m.output) {
    Output(m, owner);
  } else {
    MemberValue(m, owner, false);
  }
}

void Reader::Output(const Member& m, uint8_t* owner) {
  if (m.what == What::kHandle) return NewHandles(m, owner);
  const uint64_t count = U64();
  if (!Fits(m, owner, count) || count == 0) return;
  uint8_t* room = Room(count, SizeInC(m), true);
  if (room == nullptr) return;
  StoreAt(owner + m.offset, room);
  if (m.what == What::kStruct) {
    Elements(m, room, count, true);
  } else if (m.counts) {
    Elements(m, room, count, false);
  }
}

void Reader::NewHandles(const Member& m, uint8_t* owner) {
  const uint64_t count = U64();
  if (!Fits(m, owner, count) || count == 0) return;
  if (count > remaining() / sizeof(uint64_t)) return Fail("the stream ends within a command");
  uint8_t* handles = Room(count, sizeof(uint64_t), true);
  if (handles == nullptr) return;
  StoreAt(owner + m.offset, handles);
  made_.resize(static_cast<size_t>(count));
  Bytes(reinterpret_cast<uint8_t*>(made_.data()), count * sizeof(uint64_t));
  if (ok() && !objects_->Make(m.handle, made_, reinterpret_cast<uint64_t*>(handles))) {
    Fail("a new object has a number that another one has, or there are too many");
  }
}

void Reader::MemberValue(const Member& m, uint8_t* owner, bool shape) {
  switch (m.what) {
    case What::kAbsent:
      if (U64() != 0) Fail("an allocator that is not null");
      return;
    case What::kChain:  // of a struct of the protocol's own is read as a value
      return;
    case What::kString:
      return StoreAt(owner + m.offset, String());
    case What::kStrings:
      return Strings(m, owner);
    default:
      break;
  }
  if (m.pointer) return Pointer(m, owner, shape);
  if (m.extent == 0) return Elements(m, owner + m.offset, 1, shape);
  if (const uint64_t count = U64(); count != m.extent) return Fail("a fixed array is of another size");
  Elements(m, owner + m.offset, m.extent, shape);
}

void Reader::Pointer(const Member& m, uint8_t* owner, bool shape) {
  const uint64_t count = U64();
  if (!Fits(m, owner, count) || count == 0) return;
  if (const size_t least = LeastInStream(m); least != 0 && count > remaining() / least) {
    if (!shape) return Fail("the stream ends within an array");
  }
  if (m.what == What::kStruct && count > remaining() && !shape) return Fail("the stream ends within an array");
  uint8_t* room = Room(count, SizeInC(m), shape);
  if (room == nullptr) return;
  StoreAt(owner + m.offset, room);
  Elements(m, room, count, shape);
  if (m.stride >= 0) StoreAt(owner + m.stride, static_cast<uint32_t>(m.unit));
}

const char* Reader::String() {
  const uint64_t count = U64();
  if (count == 0 || !ok()) return nullptr;
  if (count > remaining()) {
    Fail("the stream ends within a string");
    return nullptr;
  }
  uint8_t* text = Room(count, 1, false);
  if (text == nullptr) return nullptr;
  Bytes(text, count);
  if (ok() && text[count - 1] != 0) Fail("a string without an end");
  return ok() ? reinterpret_cast<const char*>(text) : nullptr;
}

void Reader::Strings(const Member& m, uint8_t* owner) {
  const uint64_t count = U64();
  if (!Fits(m, owner, count) || count == 0) return;
  if (count > remaining() / sizeof(uint64_t)) return Fail("the stream ends within strings");
  uint8_t* texts = Room(count, sizeof(char*), false);
  if (texts == nullptr) return;
  StoreAt(owner + m.offset, texts);
  for (uint64_t i = 0; i < count && ok(); ++i) {
    const char* text = String();
    if (text == nullptr) Fail("a name that is null");
    StoreAt(texts + i * sizeof(char*), text);
  }
}

void Reader::Elements(const Member& m, uint8_t* at, uint64_t count, bool shape) {
  switch (m.what) {
    case What::kPlain:
      if (shape && !m.counts) return;
      if (m.size == 1 && (m.pointer || m.extent != 0)) return Bytes(at, count);
      if (m.size >= 4) return Bytes(at, count * m.size);
      for (uint64_t i = 0; i < count && ok(); ++i) {  // each takes four bytes
        const uint32_t value = U32();
        std::memcpy(at + i * m.size, &value, m.size);
      }
      return;
    case What::kHandle:
      for (uint64_t i = 0; i < count && ok(); ++i) {
        StoreAt(at + i * sizeof(uint64_t), objects_->Find(m.handle, U64()));
      }
      return;
    default:
      for (uint64_t i = 0; i < count && ok(); ++i) StructValue(*m.type, at + i * m.type->size, shape);
  }
}

void Reader::StructValue(const Struct& type, uint8_t* at, bool shape) {
  if (++nesting_ > wire::kMaxNesting) Fail("nested too deeply");
  if (ok() && type.is_union) {
    const uint32_t tag = U32();
    if (tag >= type.members.size()) {
      Fail("a union has no such member");
    } else {
      MemberValue(type.members[tag], at, shape);
    }
  } else if (ok()) {
    if (type.chained) {
      if (const auto named = static_cast<int32_t>(U32()); named != type.type) Fail("a struct is of another type");
      StoreAt(at, type.type);
      StoreAt(at + kNextOffset, Chain(shape));
    }
    Body(type, at, shape);
  }
  --nesting_;
}

void Reader::Body(const Struct& type, uint8_t* at, bool shape) {
  for (const Member& m : type.members) {
    if (m.what == What::kChain || (shape && !IsOfShape(m))) continue;
    if (!ok()) return;
    MemberValue(m, at, shape);
  }
}

// What follows in the chain comes before the struct's own members.
void* Reader::Chain(bool shape) {
  struct Link {
    const Struct* type;
    uint8_t* at;
  };
  std::vector<Link> links;
  while (U64() != 0 && ok()) {
    const Struct* type = FindChained(static_cast<int32_t>(U32()));
    if (type == nullptr || links.size() >= wire::kMaxChainLength) {
      Fail("a chain holds a struct that is not known");
      return nullptr;
    }
    uint8_t* at = Room(1, type->size, true);
    if (at == nullptr) return nullptr;
    StoreAt(at, type->type);
    links.push_back({type, at});
  }
  void* next = nullptr;
  for (auto link = links.rbegin(); link != links.rend() && ok(); ++link) {
    Body(*link->type, link->at, shape);
    if (link->type->own) {
      own_.push_back(link->type);
      continue;
    }
    StoreAt(link->at + kNextOffset, next);
    next = link->at;
  }
  return ok() ? next : nullptr;
}

bool Reader::Held(const Struct& own) const { return std::find(own_.begin(), own_.end(), &own) != own_.end(); }

namespace {

class Writer {
 public:
  Writer(const Objects& objects, wire::ByteBuffer* out) : objects_(objects), out_(out) {}

  template <typename T>
  void Number(T value) {
    StoreAt(out_->Append(sizeof(T)), value);
  }
  void Bytes(const uint8_t* bytes, uint64_t count) {
    const auto padding = static_cast<size_t>((4 - count % 4) % 4);
    out_->Append(bytes, static_cast<size_t>(count));
    if (padding != 0) std::memset(out_->Append(padding), 0, padding);
  }
  void Pointer(const Member& m, const uint8_t* owner) {
    const auto* at = LoadAt<const uint8_t*>(owner + m.offset);
    if (m.what == What::kString) return Text(reinterpret_cast<const char*>(at));
    const uint64_t count = at == nullptr ? 0 : CountOf(m, owner);
    Number(count);
    Elements(m, at, count);
  }
  // What could not be made has the number 0: the driver looks at that.
  void Made(std::span<const uint64_t> numbers, const uint64_t* handles) {
    Number(uint64_t{numbers.size()});
    for (size_t i = 0; i < numbers.size(); ++i) Number(handles[i] == 0 ? uint64_t{0} : numbers[i]);
  }
  static uint64_t CountOf(const Member& m, const uint8_t* owner) {
    if (m.count >= 0) return LoadAt<uint32_t>(owner + m.count);
    return m.length == nullptr ? 1 : m.length(owner);
  }

 private:
  void Text(const char* text) {
    const size_t count = text == nullptr ? 0 : std::strlen(text) + 1;
    Number(uint64_t{count});
    Bytes(reinterpret_cast<const uint8_t*>(text), count);
  }

  void MemberValue(const Member& m, const uint8_t* owner) {
    if (m.what == What::kAbsent) return Number(uint64_t{0});
    if (m.what == What::kChain || m.what == What::kStrings) return;
    if (m.pointer || m.what == What::kString) return Pointer(m, owner);
    if (m.extent != 0) Number(uint64_t{m.extent});
    Elements(m, owner + m.offset, m.extent != 0 ? m.extent : 1);
  }

  void Elements(const Member& m, const uint8_t* at, uint64_t count) {
    switch (m.what) {
      case What::kPlain:
        if ((m.size == 1 && (m.pointer || m.extent != 0)) || m.size >= 4) return Bytes(at, count * m.size);
        for (uint64_t i = 0; i < count; ++i) {
          uint32_t value = 0;
          std::memcpy(&value, at + i * m.size, m.size);
          Number(value);
        }
        return;
      case What::kHandle:
        for (uint64_t i = 0; i < count; ++i) Number(objects_.NumberOf(LoadAt<uint64_t>(at + i * sizeof(uint64_t))));
        return;
      default:
        for (uint64_t i = 0; i < count; ++i) StructValue(*m.type, at + i * m.type->size);
    }
  }

  void StructValue(const Struct& type, const uint8_t* at) {
    if (type.is_union) {
      Number(type.tag);
      return MemberValue(type.members[type.tag], at);
    }
    if (type.chained) {
      Number(type.type);
      Chain(LoadAt<const uint8_t*>(at + kNextOffset));
    }
    Body(type, at);
  }

  void Body(const Struct& type, const uint8_t* at) {
    for (const Member& m : type.members) MemberValue(m, at);
  }

  // The server's own memory, which the reader made.
  void Chain(const uint8_t* at) {
    std::vector<std::pair<const Struct*, const uint8_t*>> links;
    for (; at != nullptr; at = LoadAt<const uint8_t*>(at + kNextOffset)) {
      if (const Struct* type = FindChained(LoadAt<int32_t>(at)); type != nullptr) links.emplace_back(type, at);
    }
    for (const auto& [type, link] : links) {
      Number(uint64_t{1});
      Number(type->type);
    }
    Number(uint64_t{0});
    std::reverse(links.begin(), links.end());
    for (const auto& [type, link] : links) Body(*type, link);
  }

  const Objects& objects_;
  wire::ByteBuffer* const out_;
};

}  // namespace

void WriteReply(const CommandTable& command, const uint8_t* args, std::span<const uint64_t> made,
                const Objects& objects, wire::ByteBuffer* out) {
  Writer writer(objects, out);
  writer.Number(command.number);
  if (command.result_size != 0) out->Append(args + command.result, command.result_size);
  for (const Member& m : command.arguments.members) {
    if (!m.pointer || !m.output) continue;
    if (m.what != What::kHandle) {
      writer.Pointer(m, args);
      continue;
    }
    const auto* handles = LoadAt<const uint64_t*>(args + m.offset);
    const uint64_t count = handles == nullptr ? 0 : Writer::CountOf(m, args);
    writer.Made(made.first(std::min<size_t>(made.size(), static_cast<size_t>(count))), handles);
  }
}

}  // namespace vesper::venus
