// The memory of a ring channel, which both ends map: a page of shared words and a ring of bytes for each direction. Everything
// in it is named by offset and length within the memory, whatever the memory is: a memfd between two processes, or a piece of
// what a host and its guest share.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "runtime/area.h"
#include "runtime/descriptor.h"

namespace vesper::transport {

// The peer may store anything into these words at any time: whoever reads one keeps a copy and judges that.
struct RingDirection {
  alignas(64) std::atomic<uint64_t> tail{0};  // the writer's: bytes published since the start
  alignas(64) std::atomic<uint64_t> head{0};  // the reader's: bytes done with
};

// Where one thread sleeps. The bell changes with every wake.
struct RingSleeper {
  std::atomic<uint32_t> bell{0};
  std::atomic<uint32_t> asleep{0};
};

struct RingSide {
  alignas(64) RingSleeper reader;
  alignas(64) RingSleeper writer;  // waits for room
  alignas(64) std::atomic<uint32_t> closed{0};
  std::atomic<uint32_t> processor{0};  // that it ran on last, and 1
};

// A number that only grows; see Channel::Raise(). The key is stored once, before the first value.
struct RingNumber {
  std::atomic<uint64_t> key{0};
  std::atomic<uint64_t> value{0};
};

struct RingPage {
  static constexpr size_t kNumbers = 64;
  RingDirection commands;
  RingDirection replies;
  RingSide client;
  RingSide server;
  alignas(64) std::atomic<uint64_t> raised{0};  // how often a number grew
  alignas(64) std::array<RingNumber, kNumbers> numbers;
};
inline constexpr size_t kRingPageBytes = 4096;
static_assert(sizeof(RingPage) <= kRingPageBytes);
static_assert(std::atomic<uint64_t>::is_always_lock_free && std::atomic<uint32_t>::is_always_lock_free);

struct RingLayout {
  uint64_t page = 0;  // offsets in the memory
  uint64_t commands = 0;
  uint64_t replies = 0;
  uint64_t commands_bytes = 0;  // powers of two
  uint64_t replies_bytes = 0;

  uint64_t end() const;  // of the memory that it needs
  // Whether it lies within `size` bytes without overlaps, aligned, of sizes that make sense. Everything else that a peer may
  // say is caught here.
  bool IsSound(uint64_t size) const;
};

// What Make() uses.
inline constexpr RingLayout kRingLayout{0, 64 << 10, (64 << 10) + (1 << 20), 1 << 20, 512 << 10};

class RingMemory {
 public:
  // New memory, for the two of us: mapped, and with a descriptor for the peer. nullptr when memory is exhausted.
  static std::unique_ptr<RingMemory> Make(Descriptor* for_peer);
  // The peer's memory. nullptr when it could shrink under the mapping, is not as `layout` says, or cannot be mapped. The
  // descriptor is not needed afterwards.
  static std::unique_ptr<RingMemory> Map(const Descriptor& file, const RingLayout& layout);
  // The same in an area. The place is for the peer, which is the guest; its offsets of the layout begin there.
  static std::unique_ptr<RingMemory> MakeIn(const std::shared_ptr<Area>& area, MemoryPlace* for_peer);
  static std::unique_ptr<RingMemory> MapIn(std::shared_ptr<Area> area, MemoryPlace place, const RingLayout& layout);
  // Memory that somebody else owns, and shares with the peer in his own way; a page of zeros at first.
  static std::unique_ptr<RingMemory> Over(std::span<uint8_t> memory, const RingLayout& layout);
  ~RingMemory();
  RingMemory(const RingMemory&) = delete;
  RingMemory& operator=(const RingMemory&) = delete;

  RingPage* page() const { return reinterpret_cast<RingPage*>(base_ + layout_.page); }
  std::span<uint8_t> commands() const {
    return {base_ + layout_.commands, static_cast<size_t>(layout_.commands_bytes)};
  }
  std::span<uint8_t> replies() const { return {base_ + layout_.replies, static_cast<size_t>(layout_.replies_bytes)}; }
  const RingLayout& layout() const { return layout_; }

  // In the child of a fork: the mapping is not there, and its address may be somebody else's.
  void AbandonAfterFork() { mapped_ = 0; }

 private:
  RingMemory(uint8_t* base, size_t mapped, const RingLayout& layout) : base_(base), mapped_(mapped), layout_(layout) {}
  static std::unique_ptr<RingMemory> MapFile(const Descriptor& file, const RingLayout& layout);

  uint8_t* const base_;
  size_t mapped_;               // 0: not ours to unmap
  std::shared_ptr<Area> area_;  // which it was taken from, at that place
  MemoryPlace taken_;
  const RingLayout layout_;
};

}  // namespace vesper::transport
