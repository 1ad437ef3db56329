#include "server/memory/area_pool.h"

#include <algorithm>
#include <iterator>

namespace vesper::server {
namespace {

uint64_t RoundUp(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace

std::optional<uint64_t> AreaPool::FindFree(uint64_t size, uint64_t alignment) {
  for (auto each = free_.begin(); each != free_.end(); ++each) {
    const auto [at, bytes] = *each;
    const uint64_t begin = RoundUp(at, alignment);
    if (begin - at > bytes || size > bytes - (begin - at)) continue;
    free_.erase(each);
    if (begin != at) free_[at] = begin - at;
    if (at + bytes != begin + size) free_[begin + size] = at + bytes - begin - size;
    return begin;
  }
  return std::nullopt;
}

void AreaPool::AddFree(MemoryPlace place) {
  const auto next = free_.lower_bound(place.offset);
  if (next != free_.end() && next->first == place.offset + place.size) {
    place.size += next->second;
    free_.erase(next);
  }
  if (const auto after = free_.lower_bound(place.offset); after != free_.begin()) {
    const auto before = std::prev(after);
    if (before->first + before->second == place.offset) {
      place = {before->first, before->second + place.size};
      free_.erase(before);
    }
  }
  free_[place.offset] = place.size;
}

std::optional<uint64_t> AreaPool::Take(uint64_t size, uint64_t alignment) {
  if (size == 0 || size > area_->bytes() || alignment > area_->bytes()) return std::nullopt;
  const MutexLock lock(mutex_);
  std::optional<uint64_t> found = FindFree(size, alignment);
  if (!found) {
    const uint64_t bytes = Area::InUnits(alignment > Area::kUnit ? size + alignment : size);
    const std::optional<uint64_t> units = area_->Take(bytes);
    if (!units) return std::nullopt;
    AddFree({*units, bytes});
    found = FindFree(size, alignment);
  }
  if (!found || area_->Fill({*found, size})) return found;
  AddFree({*found, size});
  return std::nullopt;
}

void AreaPool::Return(MemoryPlace place) {
  if (!area_->Empty(place)) return;  // it may hold what it held: nobody gets it
  const MutexLock lock(mutex_);
  AddFree(place);
  const auto [at, bytes] = *std::prev(free_.upper_bound(place.offset));
  const uint64_t begin = RoundUp(at, Area::kUnit);
  const uint64_t end = (at + bytes) / Area::kUnit * Area::kUnit;
  if (end <= begin) return;
  free_.erase(at);
  if (at < begin) free_[at] = begin - at;
  if (end < at + bytes) free_[end] = at + bytes - end;
  area_->GiveBack(begin, end - begin);
}

}  // namespace vesper::server
