#include "server/venus/ring.h"

#include <algorithm>
#include <bit>

#include "server/base/limits.h"

namespace vesper::venus {

namespace limits = server::limits;

std::unique_ptr<Ring> Ring::Make(const RingCreateInfoMESA& info, std::shared_ptr<Pages> pages, std::string* error) {
  *error = "a ring of an impossible layout";
  if (pages == nullptr || !pages->Holds(info.offset, info.size)) return nullptr;
  if (info.offset % sizeof(uint64_t) != 0) return nullptr;
  const auto holds = [&](uint64_t offset, uint64_t size, uint64_t alignment) {
    return size <= info.size && offset <= info.size - size && offset % alignment == 0;
  };
  for (const uint64_t word : {info.headOffset, info.tailOffset, info.statusOffset}) {
    if (!holds(word, sizeof(uint32_t), sizeof(uint32_t))) return nullptr;
  }
  if (!std::has_single_bit(info.bufferSize) || info.bufferSize > limits::kVenusRingBytes ||
      !holds(info.bufferOffset, info.bufferSize, 1) || !holds(info.extraOffset, info.extraSize, 1)) {
    return nullptr;
  }
  error->clear();
  return std::unique_ptr<Ring>(new Ring(info, std::move(pages)));
}

Ring::Ring(const RingCreateInfoMESA& info, std::shared_ptr<Pages> pages)
    : pages_(std::move(pages)),
      info_(info),
      base_(pages_->data() + info.offset),
      head_(reinterpret_cast<Word*>(base_ + info.headOffset)),
      tail_(reinterpret_cast<Word*>(base_ + info.tailOffset)),
      status_(reinterpret_cast<Word*>(base_ + info.statusOffset)) {}

bool Ring::Take(std::vector<uint8_t>* bytes, std::string* error) {
  const uint32_t tail = tail_->load(std::memory_order_acquire);
  const uint32_t count = tail - taken_;
  if (count > info_.bufferSize) {
    *error = "a ring's tail is beyond its end";
    return false;
  }
  const auto size = static_cast<uint32_t>(info_.bufferSize);
  const uint8_t* buffer = base_ + info_.bufferOffset;
  const uint32_t from = taken_ & (size - 1);
  const uint32_t first = std::min(count, size - from);
  bytes->insert(bytes->end(), buffer + from, buffer + from + first);
  bytes->insert(bytes->end(), buffer, buffer + (count - first));
  taken_ = tail;
  return true;
}

bool Ring::WriteExtra(uint64_t offset, uint32_t value) {
  if (offset % sizeof(uint32_t) != 0 || offset > info_.extraSize || info_.extraSize - offset < sizeof(uint32_t) ||
      info_.extraOffset % sizeof(uint32_t) != 0) {
    return false;
  }
  reinterpret_cast<Word*>(base_ + info_.extraOffset + offset)->store(value, std::memory_order_release);
  return true;
}

}  // namespace vesper::venus
