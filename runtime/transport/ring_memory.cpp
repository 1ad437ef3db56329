#include "runtime/transport/ring_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <new>
#include <utility>

#include "runtime/sealed_file.h"

namespace vesper::transport {

// Both ends may be of different architectures: i386 aligns 64 bits to 4 bytes where nothing else is said.
static_assert(sizeof(RingDirection) == 128 && sizeof(RingSide) == 192 && sizeof(RingNumber) == 16);
static_assert(offsetof(RingPage, client) == 256 && offsetof(RingPage, raised) == 640 &&
              offsetof(RingPage, numbers) == 704);
static_assert(sizeof(RingLayout) == 40);

namespace {

constexpr uint64_t kMinRing = 64 << 10;
constexpr uint64_t kMaxRing = 64 << 20;
constexpr uint64_t kMaxOffset = uint64_t{1} << 40;

struct Range {
  uint64_t offset;
  uint64_t bytes;
  bool Overlaps(const Range& other) const {
    return offset < other.offset + other.bytes && other.offset < offset + bytes;
  }
};

bool IsRing(uint64_t bytes) { return std::has_single_bit(bytes) && bytes >= kMinRing && bytes <= kMaxRing; }

}  // namespace

uint64_t RingLayout::end() const {
  return std::max({page + kRingPageBytes, commands + commands_bytes, replies + replies_bytes});
}

bool RingLayout::IsSound(uint64_t size) const {
  if (!IsRing(commands_bytes) || !IsRing(replies_bytes)) return false;
  if (std::max({page, commands, replies}) > kMaxOffset || (page | commands | replies) % kRingPageBytes != 0)
    return false;
  const Range words{page, kRingPageBytes}, there{commands, commands_bytes}, back{replies, replies_bytes};
  return end() <= size && !words.Overlaps(there) && !words.Overlaps(back) && !there.Overlaps(back);
}

std::unique_ptr<RingMemory> RingMemory::Make(Descriptor* for_peer) {
  Descriptor file = MakeSealedFile("vesper-ring", kRingLayout.end());
  if (!file.valid()) return nullptr;
  std::unique_ptr<RingMemory> memory = MapFile(file, kRingLayout);
  if (memory != nullptr) *for_peer = std::move(file);
  return memory;
}

std::unique_ptr<RingMemory> RingMemory::Map(const Descriptor& file, const RingLayout& layout) {
  if (!layout.IsSound(kMaxOffset) || !IsSealed(file, layout.end())) return nullptr;
  return MapFile(file, layout);
}

std::unique_ptr<RingMemory> RingMemory::MapFile(const Descriptor& file, const RingLayout& layout) {
  if (!std::in_range<size_t>(layout.end())) return nullptr;
  const auto size = static_cast<size_t>(layout.end());
  void* mapped = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (mapped == MAP_FAILED) return nullptr;
  if (::madvise(mapped, size, MADV_DONTFORK) != 0) {
    ::munmap(mapped, size);
    return nullptr;
  }
  return std::unique_ptr<RingMemory>(new RingMemory(static_cast<uint8_t*>(mapped), size, layout));
}

std::unique_ptr<RingMemory> RingMemory::MakeIn(const std::shared_ptr<Area>& area, MemoryPlace* for_peer) {
  const uint64_t bytes = Area::InUnits(kRingLayout.end());
  const std::optional<uint64_t> offset = area->Take(bytes);
  if (!offset) return nullptr;
  *for_peer = {*offset, bytes};
  std::unique_ptr<RingMemory> memory;
  if (area->Fill(*for_peer)) memory = MapIn(area, *for_peer, kRingLayout);
  if (memory == nullptr) {
    area->GiveBack(*offset, bytes);
    return nullptr;
  }
  memory->taken_ = *for_peer;
  return memory;
}

std::unique_ptr<RingMemory> RingMemory::MapIn(std::shared_ptr<Area> area, MemoryPlace place, const RingLayout& layout) {
  if (!layout.IsSound(place.size)) return nullptr;
  uint8_t* const mapped = area->Map(place);
  if (mapped == nullptr) return nullptr;
  std::unique_ptr<RingMemory> memory(new RingMemory(mapped, static_cast<size_t>(place.size), layout));
  memory->area_ = std::move(area);
  return memory;
}

std::unique_ptr<RingMemory> RingMemory::Over(std::span<uint8_t> memory, const RingLayout& layout) {
  if (!layout.IsSound(memory.size()) || reinterpret_cast<uintptr_t>(memory.data()) % alignof(RingPage) != 0)
    return nullptr;
  return std::unique_ptr<RingMemory>(new RingMemory(memory.data(), 0, layout));
}

RingMemory::~RingMemory() {
  if (mapped_ != 0) ::munmap(base_, mapped_);
  // What was taken of an area stays taken as long as that is open here: the peer has it mapped for longer than this end.
}

}  // namespace vesper::transport
