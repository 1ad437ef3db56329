#include "client/memory/tracker.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>

#include "client/log.h"
#include "client/memory/hash_tracker.h"
#include "client/memory/memcmp_tracker.h"
#include "client/memory/uffd_tracker.h"

namespace vesper::client {
namespace {

constexpr size_t kWord = sizeof(uint64_t);
constexpr TrackerKind kKinds[] = {TrackerKind::kUffd, TrackerKind::kHash, TrackerKind::kMemcmp};

uint64_t Difference(const uint8_t* a, const uint8_t* b) {
  uint64_t x;
  uint64_t y;
  std::memcpy(&x, a, kWord);
  std::memcpy(&y, b, kWord);
  return x ^ y;
}

// Where the first difference from `at` on lies, or `size`.
size_t Differs(const uint8_t* a, const uint8_t* b, size_t at, size_t size) {
  while (at + kWord <= size && Difference(a + at, b + at) == 0) at += kWord;
  while (at < size && a[at] == b[at]) ++at;
  return at;
}

// Where the first equal byte from `at` on lies, or `size`.
size_t Agrees(const uint8_t* a, const uint8_t* b, size_t at, size_t size) {
  constexpr uint64_t kOnes = 0x0101010101010101u;
  while (at + kWord <= size) {
    const uint64_t difference = Difference(a + at, b + at);
    if (((difference - kOnes) & ~difference & (kOnes << 7)) != 0) break;  // a byte of it is zero
    at += kWord;
  }
  while (at < size && a[at] != b[at]) ++at;
  return at;
}

std::unique_ptr<Tracker> Make(TrackerKind kind, uint64_t size) {
  switch (kind) {
    case TrackerKind::kUffd:
      return MakeUffdTracker(size);
    case TrackerKind::kHash:
      return std::make_unique<HashTracker>(size);
    case TrackerKind::kMemcmp:
      break;
  }
  return std::make_unique<MemcmpTracker>(size);
}

TrackerKind Best() {
  std::string why;
  return Affords(TrackerKind::kUffd, &why) ? TrackerKind::kUffd : TrackerKind::kHash;
}

void SayOnce(const std::string& what) {
  static std::atomic<bool> said{false};
  if (!said.exchange(true)) Log(LogLevel::kError, "%s", what.c_str());
}

}  // namespace

void Tracker::Collect(uint64_t offset, uint64_t size, RunSink sink) {
  if (offset >= size_ || size == 0) return;
  CollectRange(offset, std::min(size, size_ - offset), sink);
}

bool Tracker::Apply(uint64_t offset, std::span<const uint8_t> bytes) {
  if (offset > size_ || bytes.size() > size_ - offset) return false;
  const SharedWithApplication shared;
  std::memcpy(shadow_.data() + offset, bytes.data(), bytes.size());
  std::memcpy(twin_.data() + offset, bytes.data(), bytes.size());
  Applied(offset, bytes.size());
  return true;
}

void Tracker::Compare(uint64_t offset, uint64_t size, RunSink sink) {
  const uint64_t end = offset + size;
  while (offset < end) {
    const uint64_t length = std::min(end, (offset / kBlock + 1) * kBlock) - offset;
    CompareBlock(offset, static_cast<size_t>(length), sink);
    offset += length;
  }
}

void Tracker::CompareBlock(uint64_t offset, size_t length, RunSink sink) {
  uint8_t* twin = twin_.data() + offset;
  // The application may write on: each byte is read once, and that reading is compared, sent and remembered.
  std::array<uint8_t, kBlock> seen;
  {
    const SharedWithApplication shared;
    if (std::memcmp(shadow_.data() + offset, twin, length) == 0) return;
    std::memcpy(seen.data(), shadow_.data() + offset, length);
  }
  size_t at = Differs(seen.data(), twin, 0, length);
  while (at < length) {
    const size_t run_end = Agrees(seen.data(), twin, at, length);
    std::memcpy(twin + at, seen.data() + at, run_end - at);
    sink(offset + at, std::span(seen).subspan(at, run_end - at));
    at = Differs(seen.data(), twin, run_end, length);
  }
}

const char* NameOf(TrackerKind kind) {
  static constexpr const char* kNames[] = {"uffd", "hash", "memcmp"};
  return kNames[static_cast<size_t>(kind)];
}

bool Affords(TrackerKind kind, std::string* why) { return kind != TrackerKind::kUffd || UffdWorks(why); }

std::unique_ptr<Tracker> MakeTracker(TrackerKind kind, uint64_t size) noexcept {
  if (size == 0 || size > SIZE_MAX - Tracker::kBlock) return nullptr;
  try {
    std::unique_ptr<Tracker> made = Make(kind, size);
    if (made == nullptr || !made->valid()) return nullptr;
    return made;
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

TrackerKind ChosenTracker() noexcept {
  const char* wanted = std::getenv("VESPER_MEMORY");
  try {
    if (wanted == nullptr || *wanted == '\0' || std::strcmp(wanted, "auto") == 0 ||
        std::strcmp(wanted, "shared") == 0) {  // of what is not shared
      return Best();
    }
    std::string why = "is none of auto, shared, uffd, hash, memcmp";
    for (const TrackerKind kind : kKinds) {
      if (std::strcmp(wanted, NameOf(kind)) == 0 && Affords(kind, &why)) return kind;
    }
    const TrackerKind best = Best();
    SayOnce("VESPER_MEMORY=" + std::string(wanted) + ": " + why + "; using " + NameOf(best));
    return best;
  } catch (const std::bad_alloc&) {
    return TrackerKind::kMemcmp;
  }
}

void AbandonTrackersAfterFork() noexcept { AbandonUffdAfterFork(); }

}  // namespace vesper::client
