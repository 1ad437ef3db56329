#include "tools/recording/memory_copy.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <set>

namespace vesper::tools::recording {
namespace {

constexpr std::array<uint8_t, MemoryCopy::kPage> kZeros{};

uint64_t HashOf(uint64_t number, const std::array<uint8_t, MemoryCopy::kPage>& bytes) {
  return bytes == kZeros ? 0 : XXH3_64bits_withSeed(bytes.data(), bytes.size(), number);
}

// Calls visit(page, offset in it, offset in the range, size) for each page that a range lies in.
template <typename Visit>
void ForEachPage(uint64_t offset, uint64_t size, Visit visit) {
  for (uint64_t done = 0; done < size;) {
    const uint64_t in_page = (offset + done) % MemoryCopy::kPage;
    const uint64_t part = std::min(size - done, MemoryCopy::kPage - in_page);
    visit((offset + done) / MemoryCopy::kPage, in_page, done, static_cast<size_t>(part));
    done += part;
  }
}

}  // namespace

void MemoryCopy::Write(uint64_t offset, std::span<const uint8_t> bytes) {
  if (offset > kMaxOffset) return;
  ForEachPage(offset, bytes.size(), [&](uint64_t number, uint64_t at, uint64_t from, size_t size) {
    std::unique_ptr<Page>& page = pages_[number];
    if (page == nullptr) page = std::make_unique<Page>();
    std::memcpy(page->bytes.data() + at, bytes.data() + from, size);
    if (page->stale) return;
    page->stale = true;
    sum_ -= page->hash;
    stale_.push_back(number);
  });
}

void MemoryCopy::Read(uint64_t offset, std::span<uint8_t> bytes) const {
  ForEachPage(offset, bytes.size(), [&](uint64_t number, uint64_t at, uint64_t to, size_t size) {
    const auto found = pages_.find(number);
    if (found == pages_.end()) {
      std::memset(bytes.data() + to, 0, size);
    } else {
      std::memcpy(bytes.data() + to, found->second->bytes.data() + at, size);
    }
  });
}

uint64_t MemoryCopy::Hash() {
  for (const uint64_t number : stale_) {
    Page& page = *pages_[number];
    page.hash = HashOf(number, page.bytes);
    page.stale = false;
    sum_ += page.hash;
  }
  stale_.clear();
  return sum_;
}

uint64_t MemoryCopy::Hash(uint64_t offset, uint64_t size) const {
  XXH3_state_t* const state = XXH3_createState();
  XXH3_64bits_reset(state);
  ForEachPage(offset, size, [&](uint64_t number, uint64_t at, uint64_t, size_t part) {
    const auto found = pages_.find(number);
    XXH3_64bits_update(state, found == pages_.end() ? kZeros.data() : found->second->bytes.data() + at, part);
  });
  const uint64_t hash = XXH3_64bits_digest(state);
  XXH3_freeState(state);
  return hash;
}

const MemoryCopy::Bytes& MemoryCopy::PageAt(uint64_t number) const {
  const auto found = pages_.find(number);
  return found == pages_.end() ? kZeros : found->second->bytes;
}

MemoryCopy::Difference MemoryCopy::Compare(const MemoryCopy& other) const {
  std::set<uint64_t> numbers;
  for (const MemoryCopy* copy : {this, &other}) {
    for (const auto& page : copy->pages_) numbers.insert(page.first);
  }
  Difference difference;
  for (const uint64_t number : numbers) {
    const Bytes& here = PageAt(number);
    const Bytes& there = other.PageAt(number);
    if (here == there) continue;
    for (size_t i = 0; i < kPage; ++i) {
      if (here[i] == there[i]) continue;
      difference.last = number * kPage + i;
      if (difference.count++ == 0) difference.first = difference.last;
    }
  }
  return difference;
}

}  // namespace vesper::tools::recording
