// Counters that the vtest protocol has for synchronisation between processes: they grow by what the peer writes and submits.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <utility>
#include <vector>

#include "runtime/descriptor.h"

namespace vesper::venus {

// Not thread-safe: the front end's lock guards it.
class Syncs {
 public:
  // 0 when there are too many.
  uint32_t Create(uint64_t value);
  void Remove(uint32_t number) { values_.erase(number); }
  uint64_t Read(uint32_t number) const;
  void Write(uint32_t number, uint64_t value);
  // A descriptor that is readable once all of these, or with `any` one of them, have come to their values; invalid when there
  // are none to spare.
  Descriptor Wait(bool any, std::vector<std::pair<uint32_t, uint64_t>> values);

 private:
  struct Waiter {
    bool any;
    std::vector<std::pair<uint32_t, uint64_t>> values;
    Descriptor event;
  };
  bool IsMet(const Waiter& waiter) const;

  std::unordered_map<uint32_t, uint64_t> values_;
  std::vector<Waiter> waiters_;
  uint32_t numbers_ = 0;
};

}  // namespace vesper::venus
