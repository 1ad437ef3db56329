#include "runtime/resume/sent_log.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace vesper::resume {

void SentLog::Append(std::span<const iovec> pieces) {
  uint64_t bytes = 0;
  for (const iovec& piece : pieces) bytes += piece.iov_len;
  const uint64_t first = begin_ / kBlockBytes;
  const size_t blocks = static_cast<size_t>((end_ + bytes + kBlockBytes - 1) / kBlockBytes - first);
  while (blocks_.size() < blocks) {
    blocks_.push_back(spare_ != nullptr ? std::move(spare_) : Block(new uint8_t[kBlockBytes]));
  }
  for (const iovec& piece : pieces) {
    const auto* from = static_cast<const uint8_t*>(piece.iov_base);
    for (size_t left = piece.iov_len; left != 0;) {
      const size_t offset = static_cast<size_t>(end_ % kBlockBytes);
      const size_t part = std::min(left, kBlockBytes - offset);
      std::memcpy(&blocks_[static_cast<size_t>(end_ / kBlockBytes - first)][offset], from, part);
      from += part;
      end_ += part;
      left -= part;
    }
  }
}

size_t SentLog::Offer(std::span<iovec> vectors) {
  size_t used = 0;
  uint64_t at = sent_;
  for (; at != end_ && used < vectors.size(); ++used) {
    const size_t offset = static_cast<size_t>(at % kBlockBytes);
    const uint64_t part = std::min<uint64_t>(end_ - at, kBlockBytes - offset);
    Block& block = blocks_[static_cast<size_t>(at / kBlockBytes - begin_ / kBlockBytes)];
    vectors[used] = {&block[offset], static_cast<size_t>(part)};
    at += part;
  }
  offered_ = std::max(offered_, at);
  ever_offered_ = std::max(ever_offered_, at);
  return used;
}

uint64_t SentLog::Sent(size_t count) {
  sent_ = std::min(sent_ + count, offered_);
  const uint64_t before = std::exchange(ever_sent_, std::max(ever_sent_, sent_));
  Drop();
  return ever_sent_ - before;
}

bool SentLog::Confirm(uint64_t place) {
  if (place > offered_) return false;
  confirmed_ = std::max(confirmed_, place);
  Drop();
  return true;
}

bool SentLog::GoBackTo(uint64_t place) {
  if (place < begin_ || place < confirmed_ || place > ever_offered_) return false;
  confirmed_ = sent_ = offered_ = place;
  Drop();
  return true;
}

// A confirmation may come ahead of the system call's end, and a false one in the midst of it: what was offered stays until then.
void SentLog::Drop() {
  const uint64_t place = std::min(confirmed_, sent_);
  if (place <= begin_) return;
  for (uint64_t gone = place / kBlockBytes - begin_ / kBlockBytes; gone != 0; --gone) {
    if (blocks_.empty()) break;
    spare_ = std::move(blocks_.front());
    blocks_.pop_front();
  }
  begin_ = place;
}

}  // namespace vesper::resume
