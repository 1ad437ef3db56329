#include "client/tracking/tracker.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <new>
#include <utility>

#include "client/base/limits.h"
#include "client/base/log.h"
#include "client/tracking/hash.h"
#include "client/tracking/hash_tracker.h"
#include "client/tracking/memcmp_tracker.h"
#include "client/tracking/uffd_tracker.h"
#include "runtime/environment.h"

namespace vesper::client {
namespace {

constexpr TrackerKind kKinds[] = {TrackerKind::kUffd, TrackerKind::kHash, TrackerKind::kMemcmp};

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

void Tracker::Collect(uint64_t offset, uint64_t size, ChangeSink sink, const Search& search) {
  if (offset >= size_ || size == 0) return;
  CollectRange(offset, std::min(size, size_ - offset), search, sink);
}

void Tracker::Settle(uint64_t offset, uint64_t size, ChangeSink sink) {
  if (offset >= size_ || size == 0) return;
  SettleRange(offset, std::min(size, size_ - offset), sink);
}

std::span<const wire::Run> Tracker::Apply(std::span<wire::Run> runs) {
  const auto end = std::remove_if(runs.begin(), runs.end(), [this](const wire::Run& run) {
    return run.offset > size_ || run.extent > size_ - run.offset;
  });
  const auto within = runs.first(static_cast<size_t>(end - runs.begin()));
  if (!within.empty()) Place(within);
  return within;
}

void Tracker::Place(std::span<const wire::Run> runs) {
  const SharedWithApplication shared;
  for (const wire::Run& run : runs) wire::PlaceRun(run, shadow() + run.offset, twin() + run.offset);
}

size_t Tracker::Compare(uint64_t offset, uint64_t size, ChangeSink sink) {
  size_t count = 0;
  const uint64_t end = offset + size;
  while (offset < end) {
    const uint64_t length = std::min(end, (offset / limits::kBlockBytes + 1) * limits::kBlockBytes) - offset;
    count += CompareBlock(offset, shadow() + offset, static_cast<size_t>(length), sink);
    offset += length;
  }
  return count;
}

bool Tracker::TakeWhole(uint64_t offset, size_t length, uint64_t* digest, ChangeSink sink, bool to_twin) {
  std::array<uint8_t, limits::kBlockBytes> seen;
  NoteLooked(length);
  {
    const SharedWithApplication shared;
    std::memcpy(seen.data(), shadow() + offset, length);
  }
  if (to_twin) std::memcpy(twin() + offset, seen.data(), length);
  const uint64_t before = std::exchange(*digest, HashBytes(seen.data(), length) | 1);
  if (before == *digest) return false;
  std::array<uint64_t, wire::LinesOf(limits::kBlockBytes)> mask;
  mask.fill(~uint64_t{0});
  if (length % wire::kLine != 0) mask[length / wire::kLine] = (uint64_t{1} << length % wire::kLine) - 1;
  sink({offset, std::span(seen).first(length), mask.data()}, length);
  return true;
}

bool Tracker::Equal(uint64_t offset, size_t length) const {
  const SharedWithApplication shared;
  return std::memcmp(shadow() + offset, twin() + offset, length) == 0;
}

size_t Tracker::CompareBlock(uint64_t offset, const uint8_t* current, size_t length, ChangeSink sink) {
  std::array<uint8_t, limits::kBlockBytes> seen;
  std::array<uint64_t, wire::LinesOf(limits::kBlockBytes)> mask;
  size_t count = 0;
  NoteLooked(length);
  {
    const SharedWithApplication shared;
    count = wire::FindChanges(current, twin() + offset, length, seen.data(), mask.data());
  }
  if (count == 0) return 0;
  const wire::Changes changes{offset, std::span(seen).first(length), mask.data()};
  sink(changes, count);
  return count;
}

const char* NameOf(TrackerKind kind) {
  static constexpr const char* kNames[] = {"uffd", "hash", "memcmp"};
  return kNames[static_cast<size_t>(kind)];
}

bool Affords(TrackerKind kind, std::string* why) { return kind != TrackerKind::kUffd || UffdWorks(why); }

std::unique_ptr<Tracker> MakeTracker(TrackerKind kind, uint64_t size) noexcept {
  if (size == 0 || size > SIZE_MAX - limits::kBlockBytes) return nullptr;
  try {
    std::unique_ptr<Tracker> made = Make(kind, size);
    if (made == nullptr || !made->valid()) return nullptr;
    return made;
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

TrackerKind ChosenTracker() noexcept {
  const char* wanted = Setting("VESPER_MEMORY");
  try {
    if (wanted == nullptr || std::strcmp(wanted, "auto") == 0 || std::strcmp(wanted, "shared") == 0)
      return Best();  // of what is not shared
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
