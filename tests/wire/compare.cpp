#include "tests/wire/compare.h"

#include <algorithm>
#include <cstring>

namespace vesper::test {
namespace {

const uint8_t* Next(const uint8_t* link) { return ReadAs<const uint8_t*>(link + offsetof(ChainLink, next)); }

std::string Hex(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof(text), "%#llx", static_cast<unsigned long long>(value));
  return text;
}

}  // namespace

void Comparer::Differ(const std::string& what) {
  if (!error_.empty()) return;
  for (const auto& [name, index] : path_) {
    error_ += (error_.empty() ? "" : ".") + std::string(name);
    if (index != SIZE_MAX) error_ += "[" + std::to_string(index) + "]";
  }
  error_ += ": " + what;
}

void Comparer::Allow(const uint8_t* at, size_t size) {
  if (memory_ != nullptr) std::memset(allowed_.data() + memory_->OffsetOf(at), 1, size);
}

uint64_t Comparer::Expected(HandleType type, uint64_t value) const {
  return to_client_ ? handles_->ToClient(type, value) : handles_->ToServer(type, value);
}

void Comparer::Value(const Member& m, const uint8_t* src_owner, const uint8_t* src, const uint8_t* dst_owner,
                     const uint8_t* dst) {
  if (m.what == What::kHandle || m.what == What::kHidden) {
    const HandleType type = m.what == What::kHandle ? m.handle : m.object(src_owner);
    const uint64_t value = ReadNumber(src, m.size);
    const uint64_t expected = type == HandleType::kNone ? value : Expected(type, value);
    const uint64_t got = ReadNumber(dst, m.size);
    if (got != expected) Differ("handle " + Hex(got) + " instead of " + Hex(expected) + " for " + Hex(value));
  } else if (m.what == What::kBits) {
    if (m.get(src_owner) != m.get(dst_owner)) Differ(Hex(m.get(dst_owner)) + " instead of " + Hex(m.get(src_owner)));
  } else if (m.what == What::kText) {
    if (std::strcmp(reinterpret_cast<const char*>(src), reinterpret_cast<const char*>(dst)) != 0)
      Differ("another text");
  } else if (std::memcmp(src, dst, m.size) != 0) {
    const size_t shown = std::min<size_t>(m.size, 8);
    Differ(Hex(ReadNumber(dst, shown)) + " instead of " + Hex(ReadNumber(src, shown)));
  }
}

// --- request -----------------------------------------------------------------------------------------------------------

void Comparer::Request(const Struct& s, const uint8_t* src, const uint8_t* dst, Role role) {
  to_client_ = false;
  const wire::Around outer = around_;
  if (s.surrounds != 0) around_ = {s.surrounds, src};
  for (const Member& m : s.members) {
    if (!ok()) return;
    const Step step(this, m.name);
    RequestMember(s, m, src, dst, role);
  }
  around_ = outer;
}

void Comparer::RequestMember(const Struct& s, const Member& m, const uint8_t* src, const uint8_t* dst, Role role) {
  if (m.what == What::kChain) return RequestChain(s, Pointer(src, m), Pointer(dst, m), ChainRole(m, role));
  if (m.pointers != 0) return RequestPointer(s, m, src, dst, role);
  if (m.what == What::kUnion) return RequestUnion(m, src, dst, role);
  if (m.what == What::kLocal) {
    if (Pointer(dst, m) != nullptr) Differ("a pointer of the client reached the server");
    return;
  }
  if (m.is_stride) return;
  const bool travels = role == Role::kIn || m.is_bound || m.what == What::kType;
  if (m.read_if != nullptr && !m.read_if(src, around_)) {
    if (m.what == What::kStruct) return RequestNothing(m, dst, role);
    if (ReadNumber(dst + m.offset, m.size) != 0) Differ("what must be ignored arrived");
    return;
  }
  for (size_t i = 0; i < std::max(m.extent, 1u); ++i) {
    const Step step(this, "", m.extent == 0 ? SIZE_MAX : i);
    const size_t at = m.offset + i * m.size;
    if (m.what == What::kStruct) {
      Request(*m.type, src + at, dst + at, role);
    } else if (travels) {
      Value(m, src, src + at, dst, dst + at);
    }
  }
}

// A struct that must be ignored arrives empty.
void Comparer::RequestNothing(const Member& m, const uint8_t* dst, Role role) {
  std::vector<uint8_t> nothing(m.size, 0);
  WriteAs(nothing.data(), m.type->s_type);
  Request(*m.type, nothing.data(), dst + m.offset, role);
}

void Comparer::RequestUnion(const Member& m, const uint8_t* src, const uint8_t* dst, Role role) {
  const Member* arm = SelectedArm(m, src);
  if (arm == nullptr) return;
  const Step step(this, arm->name);
  RequestMember(*m.type, *arm, src + m.offset, dst + m.offset, role);
}

void Comparer::RequestPointer(const Struct& s, const Member& m, const uint8_t* src, const uint8_t* dst, Role role) {
  if (IsReturnedPointer(m, role)) return;
  const uint8_t* from = Pointer(src, m);
  const uint8_t* to = Pointer(dst, m);
  if (from != nullptr && m.read_if != nullptr && !m.read_if(src, around_)) from = nullptr;
  if ((from == nullptr) != (to == nullptr))
    return Differ(from == nullptr ? "arrived, but was null" : "arrived as null");
  if (from == nullptr) return;
  const uint64_t n = ElementCount(m, src, around_);
  if (m.stride != 0 && ReadAs<uint32_t>(dst + m.stride) != m.size)
    return Differ("the stride is not that of a dense array");
  if (m.is_written) {
    if (m.is_bound) Value(m, src, from, dst, to);
    for (uint64_t i = 0; m.what == What::kStruct && i < n; ++i) {
      const Step step(this, "", i);
      Request(*m.type, from + i * m.size, to + i * m.size, Role::kOut);
    }
  } else if (m.what == What::kText && m.pointers == 1) {
    Value(m, src, from, dst, to);
  } else if (m.pointers == 1) {
    RequestItems(m, src, dst, from, to, n);
  } else {
    for (uint64_t i = 0; i < n; ++i) {
      const Step step(this, "", i);
      const auto* from_row = ReadAs<const uint8_t*>(from + i * sizeof(void*));
      const auto* to_row = ReadAs<const uint8_t*>(to + i * sizeof(void*));
      if (to_row == nullptr) return Differ("a row is missing");
      if (m.what == What::kText) {
        Value(m, src, from_row, dst, to_row);
      } else {
        RequestItems(m, src, dst, from_row, to_row, RowCount(m, src, i));
      }
    }
  }
  static_cast<void>(s);
}

void Comparer::RequestItems(const Member& m, const uint8_t* src, const uint8_t* dst, const uint8_t* from,
                            const uint8_t* to, uint64_t n) {
  const size_t distance = m.stride != 0 ? ReadAs<uint32_t>(src + m.stride) : m.size;
  for (uint64_t i = 0; ok() && i < n; ++i) {
    const Step step(this, "", i);
    if (m.what == What::kStruct) {
      Request(*m.type, from + i * distance, to + i * m.size, Role::kIn);
    } else {
      Value(m, src, from + i * distance, dst, to + i * m.size);
    }
  }
}

void Comparer::RequestChain(const Struct& s, const uint8_t* src, const uint8_t* dst, Role role) {
  for (;; src = Next(src), dst = Next(dst)) {
    while (src != nullptr && FindExtender(s, ReadAs<int32_t>(src)) == nullptr) src = Next(src);
    if (src == nullptr && dst == nullptr) return;
    if (src == nullptr) return Differ("the chain grew");
    const Struct* member = FindExtender(s, ReadAs<int32_t>(src));
    const Step step(this, member->name);
    if (dst == nullptr) return Differ("missing from the chain");
    if (ReadAs<int32_t>(dst) != member->s_type) return Differ("another struct in its place");
    for (const Member& m : member->members) {
      const Step inner(this, m.name);
      if (ok() && m.what != What::kChain) RequestMember(*member, m, src, dst, role);
    }
  }
}

// --- reply -------------------------------------------------------------------------------------------------------------

void Comparer::Reply(const Struct& s, const uint8_t* src, const uint8_t* dst, Role role, bool failed, Memory* memory) {
  to_client_ = true;
  if (memory != nullptr) {
    memory_ = memory;
    allowed_.assign(memory->used(), 0);
  }
  for (const Member& m : s.members) {
    if (!ok()) return;
    const Step step(this, m.name);
    ReplyMember(s, m, src, dst, role, failed);
  }
}

void Comparer::ReplyMember(const Struct& s, const Member& m, const uint8_t* src, const uint8_t* dst, Role role,
                           bool failed) {
  if (m.is_output_chain && failed) return;
  if (m.what == What::kChain) return ReplyChain(s, Pointer(src, m), Pointer(dst, m), ChainRole(m, role));
  if (m.what == What::kType || m.what == What::kUnion) return;
  if (IsReturnedPointer(m, role)) {
    Allow(dst + m.offset, sizeof(void*));
    if (Pointer(dst, m) != nullptr) Differ("a pointer that only the driver could set is not null");
    return;
  }
  if (m.pointers == 0 && role == Role::kOut) {
    for (size_t i = 0; i < std::max(m.extent, 1u); ++i) {
      const Step step(this, "", m.extent == 0 ? SIZE_MAX : i);
      const size_t at = m.offset + i * m.size;
      if (m.what == What::kStruct) {
        Reply(*m.type, src + at, dst + at, Role::kOut, false, nullptr);
        continue;
      }
      m.what == What::kBits ? Allow(dst, s.size) : Allow(dst + at, m.size);
      Value(m, src, src + at, dst, dst + at);
    }
  } else if (m.is_written) {
    if (Pointer(src, m) != nullptr) ReplyOutput(m, src, dst, failed);
  } else if (m.type != nullptr) {
    ReplyInputs(m, src, dst);
  }
}

void Comparer::ReplyOutput(const Member& m, const uint8_t* src, const uint8_t* dst, bool failed) {
  const uint8_t* from = Pointer(src, m);
  const uint8_t* to = Pointer(dst, m);
  const uint64_t n = ElementCount(m, src);
  if (failed && !m.is_bound && m.what != What::kHandle) return;
  for (uint64_t i = 0; ok() && i < n; ++i) {
    const Step step(this, "", m.length == nullptr ? SIZE_MAX : i);
    const size_t at = i * m.size;
    if (m.what == What::kStruct) {
      Reply(*m.type, from + at, to + at, Role::kOut, false, nullptr);
    } else if (m.what == What::kHandle) {  // the client's own, or null
      const bool alive = ReadNumber(from + at, m.size) != 0;
      const uint64_t expected = alive ? ReadNumber(memory_->Before(to + at), m.size) : 0;
      Allow(to + at, m.size);
      if (ReadNumber(to + at, m.size) != expected)
        Differ("new handle " + Hex(ReadNumber(to + at, m.size)) + " instead of " + Hex(expected));
    } else {
      Allow(to + at, m.size);
      Value(m, src, from + at, dst, to + at);
    }
  }
}

void Comparer::ReplyInputs(const Member& m, const uint8_t* src, const uint8_t* dst) {
  if (m.pointers == 0) {
    for (size_t i = 0; i < std::max(m.extent, 1u); ++i) {
      const size_t at = m.offset + i * m.size;
      Reply(*m.type, src + at, dst + at, Role::kIn, false, nullptr);
    }
    return;
  }
  const uint8_t* from = Pointer(src, m);
  const uint8_t* to = Pointer(dst, m);
  const uint64_t n = from == nullptr ? 0 : ElementCount(m, src);
  for (uint64_t i = 0; ok() && i < n; ++i) {
    const Step step(this, "", i);
    if (m.pointers == 1) {
      Reply(*m.type, from + i * m.size, to + i * m.size, Role::kIn, false, nullptr);
      continue;
    }
    const auto* from_row = ReadAs<const uint8_t*>(from + i * sizeof(void*));
    const auto* to_row = ReadAs<const uint8_t*>(to + i * sizeof(void*));
    for (uint64_t j = 0; j < RowCount(m, src, i); ++j) {
      Reply(*m.type, from_row + j * m.size, to_row + j * m.size, Role::kIn, false, nullptr);
    }
  }
}

void Comparer::ReplyChain(const Struct& s, const uint8_t* src, const uint8_t* dst, Role role) {
  for (; src != nullptr; src = Next(src), dst = Next(dst)) {
    const Struct* member = FindExtender(s, ReadAs<int32_t>(src));
    while (dst != nullptr && ReadAs<int32_t>(dst) != ReadAs<int32_t>(src)) dst = Next(dst);
    if (member == nullptr || dst == nullptr) return;  // the request's comparison tells
    const Step step(this, member->name);
    for (const Member& m : member->members) {
      const Step inner(this, m.name);
      if (ok() && m.what != What::kChain) ReplyMember(*member, m, src, dst, role, false);
    }
  }
}

}  // namespace vesper::test
