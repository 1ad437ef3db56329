#include "tools/recording/addresses.h"

#include <algorithm>

namespace vesper::tools::recording {

void Addresses::Learn(ObjectId object, uint64_t recorded, uint64_t replayed) {
  if (recorded == 0 || replayed == 0) return;
  const auto found = sizes_.find(object);
  const uint64_t size = found == sizes_.end() ? 1 : std::max<uint64_t>(found->second, 1);
  if (recorded == replayed) {
    moved_.erase(recorded);  // of an object that lived there before
    return;
  }
  moved_[recorded] = {size, replayed};
  low_ = std::min(low_, recorded);
  high_ = std::max(high_, recorded + size);
}

std::optional<uint64_t> Addresses::Moved(uint64_t address) const {
  auto after = moved_.upper_bound(address);
  if (after == moved_.begin()) return std::nullopt;
  const auto& [begin, range] = *--after;
  if (address - begin >= range.size) return std::nullopt;
  return range.now + (address - begin);
}

}  // namespace vesper::tools::recording
