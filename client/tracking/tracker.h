// How the client learns which bytes of mapped memory the application wrote. One Tracker watches one mapping: anonymous shadow
// memory that the application writes, and a twin that holds what the server is known to have. Implementations differ in how
// they find candidates (docs/memory.md); that exact byte runs are sent never differs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "client/base/function_ref.h"
#include "client/tracking/pages.h"
#include "runtime/wire/memory_runs.h"

namespace vesper::client {

// Gets what changed, at most a block at a time, valid during the call; in ascending order. Bytes were read once: what the sink
// sees is what the twin then holds, whatever the application writes meanwhile.
using ChangeSink = FunctionRef<void(const wire::Changes& changes, size_t count)>;

// What a search is for.
struct Search {
  // Searches for one trigger, of parts of the memory, have the same number; 0: a trigger of its own.
  uint64_t trigger = 0;
  // Whether bytes that did not change may be sent as well, since nobody else writes there: only where hardly any are among
  // those that did, as far as is known; or, on a line that is faster than comparing, anywhere.
  enum class Whole : uint8_t { kNever, kDense, kAnything } whole = Whole::kNever;
};

// Owned by MappedMemory, whose lock guards it. The application reads and writes shadow() at any time without a lock.
class Tracker {
 public:
  // False when memory was exhausted while it was made: then it must not be used.
  explicit Tracker(uint64_t size) : size_(size), shadow_(static_cast<size_t>(size)), twin_(static_cast<size_t>(size)) {}
  virtual ~Tracker() = default;
  bool valid() const { return shadow_.valid() && twin_.valid(); }

  // What the application reads and writes: `size` bytes, page-aligned, zero at first.
  uint8_t* shadow() const { return shadow_.data(); }
  uint64_t size() const { return size_; }

  // Finds what the application changed in the range since the last time and takes it over into the twin. May throw
  // std::bad_alloc.
  void Collect(uint64_t offset, uint64_t size, ChangeSink sink, const Search& search = {});
  // Bytes that were looked at since the last call.
  uint64_t TakeLooked() { return std::exchange(looked_, 0); }
  // From now on only what changed may be sent of the range: others will write it, too. May find what the application changed.
  void Settle(uint64_t offset, uint64_t size, ChangeSink sink);

  // Puts bytes that the device wrote into shadow and twin together. Runs out of range are ignored; returns the others, which
  // lie in front then.
  std::span<const wire::Run> Apply(std::span<wire::Run> runs);
  bool Apply(wire::Run run) { return !Apply(std::span(&run, 1)).empty(); }

 protected:
  // Over memory of the application's own.
  explicit Tracker(std::span<uint8_t> shadow) : size_(shadow.size()), shadow_(shadow), twin_(shadow.size()) {}
  // Collect() of a range that lies within the memory and is not empty.
  virtual void CollectRange(uint64_t offset, uint64_t size, const Search& search, ChangeSink sink) = 0;
  // Settle() of such a range, for who heeds Search::whole.
  virtual void SettleRange(uint64_t /*offset*/, uint64_t /*size*/, ChangeSink /*sink*/) {}
  // Apply() of runs that lie within the memory.
  virtual void Place(std::span<const wire::Run> runs);

  // Compares a range with the twin, in blocks: what differs goes to the sink and into the twin. Returns how many bytes that were.
  size_t Compare(uint64_t offset, uint64_t size, ChangeSink sink);
  // The same for one block that was, or is being, read from `current`. The application may write on.
  size_t CompareBlock(uint64_t offset, const uint8_t* current, size_t length, ChangeSink sink);
  // All bytes of a range, a block at most, go to the sink unless their digest is the one given, which gets the new one; 0 is
  // none. Whether they went. Where it is wanted the twin has them then.
  bool TakeWhole(uint64_t offset, size_t length, uint64_t* digest, ChangeSink sink, bool to_twin);
  // Whether a range is what the twin has.
  bool Equal(uint64_t offset, size_t length) const;
  uint8_t* twin() const { return twin_.data(); }
  void NoteLooked(size_t bytes) { looked_ += bytes; }

 private:
  uint64_t looked_ = 0;
  const uint64_t size_;
  const Pages shadow_;
  const Pages twin_;
};

enum class TrackerKind : uint8_t { kUffd, kHash, kMemcmp };

// "uffd", "hash", "memcmp".
const char* NameOf(TrackerKind kind);
// Whether this machine has what the kind needs; if not, `why` gets a reason.
bool Affords(TrackerKind kind, std::string* why);
// nullptr when memory is exhausted or the machine lacks what the kind needs.
std::unique_ptr<Tracker> MakeTracker(TrackerKind kind, uint64_t size) noexcept;

// What VESPER_MEMORY asks for if this machine affords it, else the best that it does. Says once on stderr what it cannot follow.
TrackerKind ChosenTracker() noexcept;

// In the child of a fork, which may take no lock: gives back what belongs to the parent's memory.
void AbandonTrackersAfterFork() noexcept;

}  // namespace vesper::client
