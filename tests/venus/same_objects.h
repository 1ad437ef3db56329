// Objects whose numbers are their handles.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "server/venus/walker.h"

namespace vesper::test {

class SameObjects final : public venus::Objects {
 public:
  uint64_t Find(HandleType, uint64_t number) const override { return number; }
  uint64_t NumberOf(uint64_t handle) const override { return handle; }
  bool Make(HandleType, std::span<const uint64_t> numbers, uint64_t* handles) override {
    std::copy(numbers.begin(), numbers.end(), handles);
    return true;
  }
};

}  // namespace vesper::test
