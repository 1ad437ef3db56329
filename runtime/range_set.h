// A set of numbers kept as ranges without gaps or overlaps: which parts of a memory object something holds for. Not
// thread-safe.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>

namespace vesper {

class RangeSet {
 public:
  // False when all of [begin, end) was in the set before.
  bool Add(uint64_t begin, uint64_t end) {
    if (begin >= end || Covers(begin, end)) return false;
    auto next = ends_.upper_bound(begin);
    if (next != ends_.begin() && std::prev(next)->second >= begin) {
      --next;
      begin = next->first;
    }
    while (next != ends_.end() && next->first <= end) {
      end = std::max(end, next->second);
      next = ends_.erase(next);
    }
    ends_.emplace_hint(next, begin, end);
    return true;
  }

  bool Covers(uint64_t begin, uint64_t end) const {
    const auto next = ends_.upper_bound(begin);
    return begin >= end || (next != ends_.begin() && std::prev(next)->second >= end);
  }

  // Calls visit(begin, end) for each part of [begin, end) that is in the set.
  template <typename Visit>
  void ForEachIn(uint64_t begin, uint64_t end, Visit visit) const {
    auto at = ends_.upper_bound(begin);
    if (at != ends_.begin()) --at;
    for (; at != ends_.end() && at->first < end; ++at) {
      if (at->second > begin) visit(std::max(begin, at->first), std::min(end, at->second));
    }
  }
  bool Intersects(uint64_t begin, uint64_t end) const {
    bool found = false;
    ForEachIn(begin, end, [&found](uint64_t, uint64_t) { found = true; });
    return found;
  }

 private:
  std::map<uint64_t, uint64_t> ends_;  // by beginning
};

}  // namespace vesper
