// The memory that a guest and its host share: a file of the host, of which the guest sees everything but the first unit as
// device DAX. Rings and device memory are places in it. One guest has one, and no other guest sees it.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "runtime/channel.h"
#include "runtime/descriptor.h"
#include "runtime/mutex.h"

namespace vesper {

// What the area begins with, and what a port says first to whoever opens it: by that the guest's program knows that both
// are those of one server. For no other purpose is the area's first unit read.
struct AreaLabel {
  static constexpr uint64_t kMagic = 0x3154534755474556;  // "VEGUGST1"
  uint64_t magic = kMagic;
  std::array<uint8_t, 16> id{};
  uint64_t bytes = 0;  // of the area; 0: there is none
  std::array<uint64_t, 4> unused{};
  bool operator==(const AreaLabel&) const = default;
};
static_assert(sizeof(AreaLabel) == 64);

// Thread-safe. The guest's kernel writes anywhere in it at any time; what is given to whom is therefore no matter of what
// stands in it. On the host every process opens the file for itself (Area::OfHost) and holds what it has taken as locks on
// the file, so that the kernel gives it back when the process ends, however that happens.
class Area {
 public:
  static constexpr uint64_t kUnit = uint64_t{2} << 20;  // what a guest can map, and what is taken at once

  // The host's file; nullptr when it is none. What is taken is held by this open file, not by the process.
  static std::shared_ptr<Area> OfHost(Descriptor file);
  // The guest's, from `begin` on, whose label must be `label`. nullptr with a sentence.
  static std::shared_ptr<Area> OfGuest(Descriptor file, uint64_t begin, const AreaLabel& label, std::string* error);

  uint64_t bytes() const { return bytes_; }
  uint64_t begin() const { return begin_; }  // in the file
  const Descriptor& file() const { return file_; }
  bool Holds(MemoryPlace place) const { return place.offset <= bytes_ && place.size <= bytes_ - place.offset; }

  // The host's. Takes units of at least `bytes` together that nobody has; they have no pages then. nullopt when there are
  // none. They are named by offset.
  std::optional<uint64_t> Take(uint64_t bytes);
  // Whole units that were taken. Their pages are to be gone already.
  void GiveBack(uint64_t offset, uint64_t bytes);
  // Makes pages of zeros there, so that nobody meets SIGBUS. False when the host has no memory for them.
  bool Fill(MemoryPlace place);
  // Drops the pages, from wherever they are mapped.
  bool Empty(MemoryPlace place);

  // Maps whole units, not for children of a fork. nullptr when that cannot be.
  uint8_t* Map(MemoryPlace place) const;

  static constexpr uint64_t InUnits(uint64_t bytes) { return (bytes + kUnit - 1) / kUnit * kUnit; }

 private:
  Area(Descriptor file, uint64_t begin, uint64_t bytes) : file_(std::move(file)), begin_(begin), bytes_(bytes) {}
  // Moves `offset` behind what is in the way there. False when nothing is.
  bool StepOver(uint64_t* offset, uint64_t bytes) VESPER_REQUIRES(mutex_);

  const Descriptor file_;
  const uint64_t begin_;
  const uint64_t bytes_;
  Mutex mutex_;
  std::map<uint64_t, uint64_t> taken_ VESPER_GUARDED_BY(mutex_);  // by this open file: where, how much
};

// The host's side of a guest, in files: makes the area's file, or opens the one that is there, whose size is then the same,
// with all that the guest's kernel must find in it. Invalid with a sentence. Only its owner may open it.
Descriptor OpenAreaFile(const std::string& path, uint64_t bytes, std::string* error);
// Says anew what the area is called.
bool WriteLabel(const Descriptor& file, const AreaLabel& label);

}  // namespace vesper
