// What is known of the objects that one command names, by the driver's handles in its arguments. Filled while they are decoded,
// read by checks/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "runtime/handle_table.h"

namespace vesper::server {

template <typename H>
uint64_t RawHandle(H handle) {
  uint64_t raw = 0;
  static_assert(sizeof(H) <= sizeof(raw));
  std::memcpy(&raw, &handle, sizeof(H));
  return raw;
}

// What comparing them with the arguments found; the texts are literals. Nothing is wrong where all are null.
struct Finding {
  const char* members = nullptr;   // that are wrong,
  const char* what = nullptr;      // and how
  const char* left_out = nullptr;  // why the command is not to run, though nothing about it is malformed
  bool nothing() const { return members == nullptr && left_out == nullptr; }
};

// Of one thread.
class NamedFacts {
 public:
  void Clear() { Keep(0); }
  // Those that were added after the first so many are forgotten.
  void Keep(size_t count) {
    size_ = count;
    next_ = 0;
  }
  size_t size() const { return size_; }
  void Add(HandleType type, uint64_t handle, ObjectId id, ObjectFacts* facts) {
    if (size_ == entries_.size()) Grow();
    entries_[size_++] = {handle, id, facts, type};
  }

  // nullptr where nothing is known. The pointer is valid as long as the filler says.
  template <typename H>
  ObjectFacts* Of(HandleType type, H handle) const {
    const Entry* entry = Find(type, RawHandle(handle));
    return entry == nullptr ? nullptr : entry->facts;
  }
  template <typename H>
  ObjectId IdOf(HandleType type, H handle) const {
    const Entry* entry = Find(type, RawHandle(handle));
    return entry == nullptr ? kNullObject : entry->id;
  }

 private:
  struct Entry {
    uint64_t handle = 0;
    ObjectId id = kNullObject;
    ObjectFacts* facts = nullptr;
    HandleType type{};
  };
  [[gnu::noinline]] void Grow() { entries_.resize(2 * size_ + 8); }
  // Those asked for in the order of naming are found at once.
  const Entry* Find(HandleType type, uint64_t handle) const {
    for (size_t i = 0, at = next_; i < size_; ++i, at = at + 1 == size_ ? 0 : at + 1) {
      if (entries_[at].handle != handle || entries_[at].type != type) continue;
      next_ = at;
      return &entries_[at];
    }
    return nullptr;
  }

  std::vector<Entry> entries_;  // the first size_ count
  size_t size_ = 0;
  mutable size_t next_ = 0;
};

}  // namespace vesper::server
