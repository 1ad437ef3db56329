// Makes valid arguments by the registry's tables, in memory that remembers what a callee may write.
#pragma once

#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "tests/wire/handles.h"
#include "tests/wire/model.h"
#include "tests/wire/random.h"

namespace vesper::test {

template <typename T>
T ReadAs(const uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}
template <typename T>
void WriteAs(uint8_t* at, T value) {
  std::memcpy(at, &value, sizeof(T));
}
uint64_t ReadNumber(const uint8_t* at, size_t size);
inline void WriteNumber(uint8_t* at, size_t size, uint64_t value) { std::memcpy(at, &value, size); }
inline uint8_t* Pointer(const uint8_t* owner, const Member& m) { return ReadAs<uint8_t*>(owner + m.offset); }

// How every struct with a chain begins.
struct ChainLink {
  int32_t s_type;
  ChainLink* next;
};
// The struct of `owner`'s extenders that has this sType, or nullptr.
const Struct* FindExtender(const Struct& owner, int32_t s_type);
uint64_t ElementCount(const Member& m, const uint8_t* owner, const wire::Around& around = {});
uint64_t RowCount(const Member& m, const uint8_t* owner, size_t row);
// Whether the member is the callee's own pointer in a struct that the callee fills.
inline bool IsReturnedPointer(const Member& m, Role role) {
  return role == Role::kOut && m.pointers > 0 && !m.is_written && m.what != What::kChain;
}
// The selected member of the union `m` in `owner`, or nullptr.
const Member* SelectedArm(const Member& m, const uint8_t* owner);

// The application's memory: one block with gaps of canaries between allocations.
class Memory {
 public:
  struct Region {
    size_t begin;
    size_t size;
    const char* owner;
    const char* member;
  };
  Memory();

  void Reset();
  uint8_t* Allocate(size_t size, const char* owner, const char* member);
  // What a callee may write, whatever it returns.
  void MayBeWritten(const uint8_t* at, size_t size);
  size_t used() const { return used_; }

  void Snapshot() { snapshot_.assign(block_.begin(), block_.begin() + static_cast<ptrdiff_t>(used_)); }
  void Restore() { std::memcpy(block_.data(), snapshot_.data(), used_); }
  const uint8_t* Before(const uint8_t* at) const { return snapshot_.data() + (at - block_.data()); }
  // The first byte that differs from the snapshot and is not in `allowed`, told by its allocation; "" if none.
  std::string Damage(const std::vector<uint8_t>& allowed) const;
  const std::vector<uint8_t>& writable() const { return writable_; }
  size_t OffsetOf(const uint8_t* at) const { return static_cast<size_t>(at - block_.data()); }

 private:
  std::vector<uint8_t> block_, snapshot_, writable_;
  std::vector<Region> regions_;
  size_t used_ = 0;
};

// Which values to prefer.
struct Shape {
  static constexpr size_t kAnyChain = SIZE_MAX;
  bool full = false;         // everything optional is there, no array is empty
  size_t chain = kAnyChain;  // every chain holds the extending struct of this number alone
  // Members of few values, e.g. VkBool32 and bit-fields, take the digit of this number of their place in the struct, and handles
  // that may be null are null where it is 1: after kDigits iterations no two members of a struct had the same values, which chance
  // does not promise to a struct that few see.
  static constexpr size_t kByChance = SIZE_MAX;
  size_t digit = kByChance;

  static constexpr size_t kDigits = 7;  // structs of up to 127 VkBool32
  bool DigitOf(size_t place) const { return (place >> digit & 1) != 0; }
};

// One of the values of a member that has a list of them.
uint64_t ChooseValue(const Member& m, const Shape& shape, Random* random);

class Filler {
 public:
  using Visited = std::set<std::pair<const Struct*, Role>>;
  Filler(Random* random, Handles* handles, Memory* memory, Shape shape)
      : random_(random), handles_(handles), memory_(memory), shape_(shape) {}

  void Fill(const Struct& s, uint8_t* p, Role role);
  const Visited& visited() const { return visited_; }
  // Members with a condition that were left as garbage, and those that were not.
  const std::set<const Member*>& ignored() const { return ignored_; }
  const std::set<const Member*>& read() const { return read_; }
  // Union members that were chosen.
  const std::set<const Member*>& arms() const { return arms_; }

 private:
  void FillByValue(const Struct& s, const Member& m, uint8_t* p, Role role);
  void FillValue(const Member& m, const uint8_t* owner, uint8_t* at);
  uint64_t MakeHandle(const Member& m);
  void FillUnion(const Struct& s, const Member& m, uint8_t* p, Role role);
  void FillChain(const Struct& s, const Member& m, uint8_t* p, Role role);
  void FillPointer(const Struct& s, const Member& m, uint8_t* p, Role role);
  void FillOutput(const Struct& s, const Member& m, uint8_t* p, uint64_t n);
  uint8_t* FillArray(const Struct& s, const Member& m, uint8_t* p, uint64_t n);
  uint8_t* Stranger();
  uint8_t* Text(const Struct& s, const Member& m);
  void Spoil(const Member& m, uint8_t* at);
  void FillIgnored(size_t first, const wire::Around& around);
  bool Small() const { return memory_->used() > 96 * 1024; }

  Random* random_;
  Handles* handles_;
  Memory* memory_;
  Shape shape_;
  Visited visited_;
  std::vector<std::pair<const Struct*, uint8_t*>> inputs_;  // within the outermost struct that surrounds others
  std::set<const Member*> ignored_, read_;
  bool surrounded_ = false;
  wire::Around around_;  // the outermost struct that surrounds others
  std::set<const Member*> arms_;
  uint32_t minted_ = Handles::kSlots;
  int depth_ = 0;
};

}  // namespace vesper::test
