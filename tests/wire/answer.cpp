#include <algorithm>
#include <cstring>
#include <string_view>

#include "tests/wire/compare.h"

namespace vesper::test {
namespace {

char kDriversText[] = "text of the driver";  // a pointer that must not reach the client

const uint8_t* Next(const uint8_t* link) { return ReadAs<const uint8_t*>(link + offsetof(ChainLink, next)); }

}  // namespace

void Answerer::Answer(const Struct& s, uint8_t* p, Role role, bool failed) {
  for (const Member& m : s.members) {  // counts first: arrays are as long as the new ones say
    if (m.is_bound && m.pointers == 1 && m.is_written && Pointer(p, m) != nullptr) {
      AnswerCount(s, m, p, Pointer(p, m));
    } else if (m.is_bound && m.pointers == 0 && role == Role::kOut) {
      AnswerCount(s, m, p, p + m.offset);
    }
  }
  for (const Member& m : s.members) {
    if (m.what == What::kChain) {
      if (!m.is_output_chain || !failed) AnswerChain(s, Pointer(p, m), ChainRole(m, role));
    } else if (IsReturnedPointer(m, role)) {
      WriteAs(p + m.offset, static_cast<void*>(kDriversText));
    } else if (m.pointers == 0 && role == Role::kOut) {
      AnswerByValue(s, m, p);
    } else if (m.is_written) {
      if (!m.is_bound && Pointer(p, m) != nullptr) AnswerOutput(s, m, p, failed);
    } else if (m.type != nullptr) {
      AnswerInputs(m, p);
    }
  }
}

void Answerer::AnswerCount(const Struct& s, const Member& count, const uint8_t* owner, uint8_t* at) {
  if (nothing_) return WriteNumber(at, count.size, 0);
  uint64_t room = 6 * count.scale;
  for (const Member& m : s.members) {
    if (m.bound != nullptr && std::string_view(m.bound) == count.name && Pointer(owner, m) != nullptr) {
      room = std::min(room, ReadNumber(at, count.size));
    }
  }
  WriteNumber(at, count.size, random_->OneIn(3) ? room : random_->Below(room + 1));
}

void Answerer::AnswerByValue(const Struct&, const Member& m, uint8_t* p) {
  if (m.is_bound || m.what == What::kType || m.what == What::kLocal) return;
  if (m.what == What::kBits) return m.set(p, nothing_ ? 0 : static_cast<uint32_t>(random_->Next()));
  for (size_t i = 0; i < std::max(m.extent, 1u); ++i) {
    uint8_t* at = p + m.offset + i * m.size;
    if (m.what == What::kStruct) {
      Answer(*m.type, at, Role::kOut, false);
    } else {
      Value(m, p, at);
    }
  }
}

void Answerer::Value(const Member& m, const uint8_t* owner, uint8_t* at) {
  const auto slot = static_cast<uint32_t>(1 + random_->Below(Handles::kSlots - 1));
  if (nothing_) {
    std::memset(at, 0, m.size);
  } else if (m.what == What::kHandle) {
    WriteNumber(at, m.size, random_->OneIn(4) ? 0 : handles_->Server(m.handle, slot));
  } else if (m.what == What::kHidden) {
    const HandleType type = m.object(owner);
    WriteNumber(at, m.size, type == HandleType::kNone ? random_->Next() : handles_->Server(type, slot));
  } else if (m.what == What::kReal) {
    const float value = static_cast<float>(random_->Below(1 << 20));
    m.size == sizeof(float) ? WriteAs(at, value) : WriteAs(at, static_cast<double>(value));
  } else if (m.values != nullptr) {
    WriteNumber(at, m.size, ChooseValue(m, shape_, random_));
  } else {
    random_->Bytes(at, m.size);
  }
}

void Answerer::AnswerOutput(const Struct&, const Member& m, uint8_t* p, bool failed) {
  uint8_t* items = Pointer(p, m);
  const uint64_t n = ElementCount(m, p);
  for (uint64_t i = 0; i < n; ++i) {
    uint8_t* at = items + i * m.size;
    if (m.what == What::kStruct) {
      Answer(*m.type, at, Role::kOut, false);
    } else if (m.what == What::kHandle && failed && m.length == nullptr) {
      WriteNumber(at, m.size, 0);  // as the server does
    } else {
      Value(m, p, at);
    }
  }
}

// Outputs hidden in inputs.
void Answerer::AnswerInputs(const Member& m, uint8_t* p) {
  if (m.what == What::kUnion) return;
  if (m.pointers == 0) {
    for (size_t i = 0; i < std::max(m.extent, 1u); ++i) Answer(*m.type, p + m.offset + i * m.size, Role::kIn, false);
    return;
  }
  uint8_t* items = Pointer(p, m);
  const uint64_t n = items == nullptr ? 0 : ElementCount(m, p);
  for (uint64_t i = 0; i < n; ++i) {
    if (m.pointers == 1) {
      Answer(*m.type, items + i * m.size, Role::kIn, false);
      continue;
    }
    uint8_t* row = ReadAs<uint8_t*>(items + i * sizeof(void*));
    const uint64_t width = row == nullptr ? 0 : RowCount(m, p, i);
    for (uint64_t j = 0; j < width; ++j) Answer(*m.type, row + j * m.size, Role::kIn, false);
  }
}

void Answerer::AnswerChain(const Struct& s, uint8_t* chain, Role role) {
  for (; chain != nullptr; chain = const_cast<uint8_t*>(Next(chain))) {
    const Struct* member = FindExtender(s, ReadAs<int32_t>(chain));
    if (member == nullptr) continue;
    // A member's own pNext continues this chain: it is no chain of its own.
    const Struct alone{member->name, member->size, member->s_type, false, member->members, {}};
    uint8_t* next = const_cast<uint8_t*>(Next(chain));
    WriteAs<uint8_t*>(chain + offsetof(ChainLink, next), nullptr);
    Answer(alone, chain, role, false);
    WriteAs(chain + offsetof(ChainLink, next), next);
  }
}

}  // namespace vesper::test
