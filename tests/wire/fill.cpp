#include "tests/wire/fill.h"

#include <sys/mman.h>

#include <algorithm>
#include <string>

namespace vesper::test {
namespace {

constexpr int kDeepest = 12;
constexpr int32_t kUnknownType = 0x7ffffff0;  // sType of a struct that no registry knows

// Into a page that faults.
uint8_t* GarbagePointer(Random* random) {
  static auto* const page = static_cast<uint8_t*>(mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  return page + random->Below(256) * 8;
}

}  // namespace

uint64_t ChooseValue(const Member& m, const Shape& shape, Random* random) {
  const auto values = m.values();
  size_t choice = m.offset / m.size + 1;
  for (size_t i = 0; shape.digit != Shape::kByChance && i < shape.digit; ++i) choice /= values.size();
  if (shape.digit == Shape::kByChance) choice = random->Below(values.size());
  return static_cast<uint64_t>(values[choice % values.size()]);
}

void Filler::Fill(const Struct& s, uint8_t* p, Role role) {
  visited_.insert({&s, role});
  ++depth_;
  // Within a struct that others look at, garbage is made at its end.
  const bool outermost = !surrounded_;
  const size_t first = inputs_.size();
  surrounded_ = surrounded_ || s.surrounds != 0;
  if (outermost) around_ = s.surrounds != 0 ? wire::Around{s.surrounds, p} : wire::Around{};
  for (const Member& m : s.members) {
    if (m.pointers == 0 && m.what != What::kStruct && m.what != What::kUnion && m.what != What::kChain) {
      FillByValue(s, m, p, role);
    }
  }
  for (const Member& m : s.members) {
    if (m.pointers != 0) continue;
    if (m.what == What::kStruct) {
      for (size_t i = 0; i < std::max(m.extent, 1u); ++i) Fill(*m.type, p + m.offset + i * m.size, role);
    }
    if (m.what == What::kUnion) FillUnion(s, m, p, role);
    if (m.what == What::kChain) FillChain(s, m, p, ChainRole(m, role));
  }
  for (const Member& m : s.members) {
    if (m.pointers != 0) FillPointer(s, m, p, role);
  }
  if (role == Role::kIn) inputs_.emplace_back(&s, p);
  if (outermost) FillIgnored(first, s.surrounds != 0 ? wire::Around{s.surrounds, p} : wire::Around{});
  surrounded_ = surrounded_ && !outermost;
  --depth_;
}

void Filler::FillByValue(const Struct& s, const Member& m, uint8_t* p, Role role) {
  if (m.what == What::kBits) {
    if (role == Role::kOut) memory_->MayBeWritten(p, s.size);
    const auto place = static_cast<uint32_t>(&m - s.members.data()) + 1;
    const bool chance = shape_.digit == Shape::kByChance;
    m.set(p, chance ? static_cast<uint32_t>(random_->Next()) : 0 - (place >> shape_.digit & 1));
    return;
  }
  const size_t size = m.size * std::max(m.extent, 1u);
  if (role == Role::kOut && m.what != What::kType) {
    memory_->MayBeWritten(p + m.offset, size);
    if (!m.is_bound) return random_->Bytes(p + m.offset, size);
  }
  for (size_t i = 0; i < std::max(m.extent, 1u); ++i) FillValue(m, p, p + m.offset + i * m.size);
  if (m.what == What::kType) WriteAs(p + m.offset, s.s_type);
}

void Filler::FillValue(const Member& m, const uint8_t* owner, uint8_t* at) {
  switch (m.what) {
    case What::kNumber:
      if (m.scale != 0) {
        const uint64_t least = shape_.full ? 1 : 0;
        const uint64_t n = Small() ? least : least + random_->Below(4 - least);
        WriteNumber(at, m.size, n * m.scale);
      } else if (m.values != nullptr) {
        WriteNumber(at, m.size, ChooseValue(m, shape_, random_));
      } else {
        random_->Bytes(at, m.size);
      }
      break;
    case What::kReal: {
      const double value = static_cast<double>(static_cast<int64_t>(random_->Next() >> 40)) / 64.0 - 65536.0;
      if (m.size == sizeof(float)) {
        WriteAs(at, static_cast<float>(value));
      } else {
        WriteAs(at, value);
      }
      break;
    }
    case What::kHandle:
      WriteNumber(at, m.size, MakeHandle(m));
      break;
    case What::kHidden: {
      const HandleType type = m.object(owner);
      const auto slot = static_cast<uint32_t>(1 + random_->Below(Handles::kSlots - 1));
      WriteNumber(at, m.size, type == HandleType::kNone ? random_->Next() : handles_->Client(type, slot));
      break;
    }
    case What::kOpaque:
      WriteAs(at, reinterpret_cast<void*>(static_cast<uintptr_t>(random_->Next())));
      break;
    case What::kLocal:
      WriteAs(at, GarbagePointer(random_));
      break;
    default:
      break;
  }
}

uint64_t Filler::MakeHandle(const Member& m) {
  const bool chance = shape_.digit == Shape::kByChance;
  if (m.is_optional && (chance ? !shape_.full && random_->OneIn(4) : shape_.DigitOf(m.offset / sizeof(uint64_t) + 1))) {
    return 0;
  }
  if (m.is_ignorable && random_->OneIn(8)) return handles_->Client(m.handle, Handles::kStaleSlot + 7);
  return handles_->Client(m.handle, static_cast<uint32_t>(1 + random_->Below(Handles::kSlots - 1)));
}

void Filler::FillUnion(const Struct& s, const Member& m, uint8_t* p, Role role) {
  const Member* arm = SelectedArm(m, p);
  random_->Bytes(p + m.offset, m.size);
  if (arm == nullptr) return;
  visited_.insert({m.type, role});
  arms_.insert(arm);
  uint8_t* at = p + m.offset;
  if (arm->pointers != 0) {
    FillPointer(*m.type, *arm, at, role);
  } else if (arm->what == What::kStruct) {
    Fill(*arm->type, at + arm->offset, role);
  } else {
    FillByValue(s, *arm, at, role);
  }
}

void Filler::FillChain(const Struct& s, const Member& m, uint8_t* p, Role role) {
  WriteAs<ChainLink*>(p + m.offset, nullptr);
  if (!m.is_output_chain && (depth_ > kDeepest || Small())) return;
  std::vector<const Struct*> wanted;
  if (shape_.chain != Shape::kAnyChain) {
    if (!s.extenders.empty()) wanted.push_back(s.extenders[shape_.chain % s.extenders.size()]);
  } else if (shape_.full || random_->OneIn(2)) {
    const uint64_t count = s.extenders.empty() ? 0 : random_->Below(4);
    for (uint64_t i = 0; i < count; ++i) {
      const Struct* each = s.extenders[random_->Below(s.extenders.size())];
      if (std::find(wanted.begin(), wanted.end(), each) == wanted.end()) wanted.push_back(each);
    }
  }
  if (m.is_output_chain && wanted.empty()) wanted.push_back(s.extenders[random_->Below(s.extenders.size())]);
  uint8_t* link = p + m.offset;
  if (wanted.empty() && random_->OneIn(8)) WriteAs(link, Stranger());
  for (const Struct* each : wanted) {
    if (random_->OneIn(8)) {
      uint8_t* stranger = Stranger();
      WriteAs(link, stranger);
      link = stranger + offsetof(ChainLink, next);
    }
    uint8_t* member = memory_->Allocate(each->size, each->name, "(chained)");
    random_->Bytes(member, each->size);
    Fill(*each, member, role);
    WriteAs(link, member);
    link = member + offsetof(ChainLink, next);
    WriteAs<uint8_t*>(link, nullptr);
  }
}

uint8_t* Filler::Stranger() {
  uint8_t* at = memory_->Allocate(sizeof(ChainLink), "a chain", "struct that is not known");
  WriteAs(at, ChainLink{kUnknownType, nullptr});
  return at;
}

uint8_t* Filler::Text(const Struct& s, const Member& m) {
  const uint64_t length = random_->Below(12);
  uint8_t* text = memory_->Allocate(length + 1, s.name, m.name);
  for (uint64_t i = 0; i < length; ++i) text[i] = static_cast<uint8_t>(1 + random_->Below(255));
  text[length] = 0;
  return text;
}

void Filler::FillPointer(const Struct& s, const Member& m, uint8_t* p, Role role) {
  WriteAs<uint8_t*>(p + m.offset, nullptr);
  if (IsReturnedPointer(m, role)) {
    WriteAs(p + m.offset, GarbagePointer(random_));
    memory_->MayBeWritten(p + m.offset, sizeof(void*));
    return;
  }
  const bool every_value = m.own_count != 0 && !Small() && random_->OneIn(4);
  if (every_value) WriteNumber(p + m.own_count, sizeof(uint32_t), m.values().size());
  const uint64_t n = ElementCount(m, p, around_);
  if (m.is_optional && !shape_.full && random_->OneIn(4)) return;
  if (n == 0 && random_->OneIn(2)) return;
  if (m.is_written) return FillOutput(s, m, p, n);
  if (m.what == What::kText) {
    if (m.pointers == 1) return WriteAs(p + m.offset, Text(s, m));
    uint8_t* texts = memory_->Allocate(n * sizeof(void*), s.name, m.name);
    for (uint64_t i = 0; i < n; ++i) WriteAs(texts + i * sizeof(void*), Text(s, m));
    return WriteAs(p + m.offset, texts);
  }
  if (m.pointers == 1) return WriteAs(p + m.offset, FillArray(s, m, p, n));
  uint8_t* rows = memory_->Allocate(n * sizeof(void*), s.name, m.name);
  for (uint64_t i = 0; i < n; ++i) WriteAs(rows + i * sizeof(void*), FillArray(s, m, p, RowCount(m, p, i)));
  WriteAs(p + m.offset, rows);
}

void Filler::FillOutput(const Struct& s, const Member& m, uint8_t* p, uint64_t n) {
  uint8_t* items = memory_->Allocate(n * m.size, s.name, m.name);
  random_->Bytes(items, n * m.size);
  WriteAs(p + m.offset, items);
  if (m.what == What::kStruct) {
    for (uint64_t i = 0; i < n; ++i) Fill(*m.type, items + i * m.size, Role::kOut);
    return;
  }
  memory_->MayBeWritten(items, n * m.size);
  if (m.is_bound) FillValue(m, p, items);
  if (m.what == What::kHandle) {
    for (uint64_t i = 0; i < n; ++i) WriteNumber(items + i * m.size, m.size, handles_->Client(m.handle, minted_++));
  }
}

uint8_t* Filler::FillArray(const Struct& s, const Member& m, uint8_t* p, uint64_t n) {
  size_t distance = m.size;
  if (m.stride != 0) {
    distance += 4 * random_->Below(3);
    WriteAs(p + m.stride, static_cast<uint32_t>(distance));
  }
  uint8_t* items = memory_->Allocate(n * distance, s.name, m.name);
  for (uint64_t i = 0; i < n; ++i) {
    uint8_t* at = items + i * distance;
    if (m.what == What::kStruct) {
      random_->Bytes(at, m.size);
      Fill(*m.type, at, Role::kIn);
    } else {
      FillValue(m, p, at);
      if (m.own_count != 0 && n == m.values().size() && !random_->OneIn(16)) {
        WriteNumber(at, m.size, static_cast<uint64_t>(m.values()[i]));
      }
    }
  }
  return items;
}

// Garbage where a valid program may leave it, in the inputs from `first` on: every condition is asked before anything is spoilt.
void Filler::FillIgnored(size_t first, const wire::Around& around) {
  std::vector<std::pair<const Member*, uint8_t*>> spoilt;
  for (size_t i = first; i < inputs_.size(); ++i) {
    const auto& [s, p] = inputs_[i];
    for (const Member& m : s->members) {
      if (m.read_if == nullptr) continue;
      const bool read = m.read_if(p, around);
      const bool by_value = m.what == What::kStruct && m.pointers == 0;
      const bool is_null = !by_value && ReadNumber(p + m.offset, m.pointers != 0 ? sizeof(void*) : m.size) == 0;
      if (!is_null) (read ? read_ : ignored_).insert(&m);
      if (!read && !is_null) spoilt.emplace_back(&m, p + m.offset);
    }
  }
  inputs_.resize(first);
  for (const auto& [m, at] : spoilt) Spoil(*m, at);
}

void Filler::Spoil(const Member& m, uint8_t* at) {
  if (m.pointers != 0) {
    WriteAs(at, GarbagePointer(random_));
  } else if (m.what == What::kStruct) {
    for (const Member& inner : m.type->members) {
      if (inner.pointers != 0 || inner.what == What::kChain) WriteAs(at + inner.offset, GarbagePointer(random_));
    }
  } else {
    WriteNumber(at, m.size, Handles::kGarbage);
  }
}

}  // namespace vesper::test
