#include <string>

#include "tests/wire/fill.h"

namespace vesper::test {
namespace {

constexpr size_t kBlock = size_t{4} << 20;
constexpr size_t kGap = 16;
constexpr uint8_t kCanary = 0xa5;

}  // namespace

uint64_t ReadNumber(const uint8_t* at, size_t size) {
  uint64_t value = 0;
  std::memcpy(&value, at, size);
  return value;
}

Memory::Memory() : block_(kBlock, kCanary), writable_(kBlock, 0) {}

void Memory::Reset() {
  std::memset(block_.data(), kCanary, used_);
  std::memset(writable_.data(), 0, used_);
  regions_.clear();
  used_ = 0;
}

uint8_t* Memory::Allocate(size_t size, const char* owner, const char* member) {
  const size_t begin = used_ + kGap;
  const size_t end = begin + (size + 15) / 16 * 16;
  if (end + kGap > block_.size()) std::abort();  // the tests' own arguments grew beyond bounds
  regions_.push_back({begin, size, owner, member});
  used_ = end + kGap;
  return block_.data() + begin;
}

void Memory::MayBeWritten(const uint8_t* at, size_t size) { std::memset(writable_.data() + OffsetOf(at), 1, size); }

std::string Memory::Damage(const std::vector<uint8_t>& allowed) const {
  constexpr size_t kStep = 256;
  for (size_t i = 0; i < used_; ++i) {
    while (i + kStep <= used_ && std::memcmp(block_.data() + i, snapshot_.data() + i, kStep) == 0) i += kStep;
    if (i >= used_) break;
    if (block_[i] == snapshot_[i] || allowed[i] != 0) continue;
    std::string text = "the canaries";
    for (const Region& region : regions_) {
      if (i < region.begin) break;
      text = std::string("byte ") + std::to_string(i - region.begin) + " of " + region.owner + "." + region.member +
             " (" + std::to_string(region.size) + " bytes)";
    }
    return text;
  }
  return "";
}

const Struct* FindExtender(const Struct& owner, int32_t s_type) {
  for (const Struct* each : owner.extenders) {
    if (each->s_type == s_type) return each;
  }
  return nullptr;
}

uint64_t ElementCount(const Member& m, const uint8_t* owner, const wire::Around& around) {
  if (m.outer_length != nullptr) return m.outer_length(around);
  return m.length == nullptr ? 1 : m.length(owner);
}

uint64_t RowCount(const Member& m, const uint8_t* owner, size_t row) {
  return m.row_length == nullptr ? 1 : m.row_length(owner, row);
}

const Member* SelectedArm(const Member& m, const uint8_t* owner) {
  const int64_t selector = m.selector(owner);
  for (const Member& arm : m.type->members) {
    for (const int64_t value : arm.selection()) {
      if (value == selector) return &arm;
    }
  }
  return nullptr;
}

}  // namespace vesper::test
