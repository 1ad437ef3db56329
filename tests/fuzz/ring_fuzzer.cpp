// A ring channel's end against a peer that owns the other half of the shared memory. The input is a list of steps of 12 bytes:
// what the peer stores (a position, a word of a frame, a word of the page), or that this end reads or writes.
#include <cstring>
#include <memory>
#include <stdexcept>
#include <vector>

#include "runtime/transport/ring.h"

namespace vesper::test {
namespace {

using namespace transport;

constexpr size_t kBytes = 64 << 10;

struct End {
  // Of exactly its size, so that AddressSanitizer sees every access beyond it.
  std::unique_ptr<uint8_t[]> memory = std::make_unique<uint8_t[]>(kBytes);
  RingDirection words;
  RingReader reader{&words, {memory.get(), kBytes}};
  RingWriter writer{&words, {memory.get(), kBytes}};
};

// What was handed out lies in the ring and can be copied; a position that the reader has left never comes back.
void ReadOne(End* end) {
  const uint64_t before = end->reader.position();
  RingFrame frame;
  if (end->reader.Next(&frame) != RingStatus::kFrame) return;
  if (frame.payload.size() > kBytes) throw std::logic_error("a frame larger than the ring");
  const std::vector<uint8_t> copy(frame.payload.begin(), frame.payload.end());
  end->reader.Release();
  if (end->reader.position() <= before) throw std::logic_error("a reader that does not move");
}

void WriteOne(End* end, size_t bytes, uint64_t sequence) {
  uint8_t* place = end->writer.Reserve(bytes);
  if (place == nullptr) return;
  std::memset(place, 0x5a, bytes);
  end->writer.Commit(MessageKind::kBatch, RingFlag::kNone, sequence, bytes);
  end->writer.Publish();
}

void Step(End* end, uint32_t what, uint64_t value) {
  const uint32_t argument = what >> 3;
  switch (what & 7) {
    case 0:
      end->words.tail.store(value);
      break;
    case 1:
      end->words.head.store(value);
      break;
    case 2:  // a little further than it is
      end->words.tail.store(end->reader.position() + value % (2 * kBytes));
      break;
    case 3:
      std::memcpy(&end->memory[argument % (kBytes / 8) * 8], &value, sizeof(value));
      break;
    case 4:  // the header that is read next
      std::memcpy(&end->memory[end->reader.position() % kBytes], &value, sizeof(value));
      break;
    case 5:
      WriteOne(end, argument % (kBytes / 2), value);
      break;
    default:
      ReadOne(end);
  }
}

void CheckLayout(const uint8_t* data) {
  RingLayout layout;
  std::memcpy(&layout, data, sizeof(layout));
  constexpr uint64_t kSize = uint64_t{8} << 20;
  if (!layout.IsSound(kSize)) return;
  if (layout.end() > kSize || layout.commands + layout.commands_bytes > kSize ||
      layout.replies + layout.replies_bytes > kSize || layout.page + kRingPageBytes > kSize) {
    throw std::logic_error("a layout beyond its memory");
  }
}

}  // namespace
}  // namespace vesper::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace vesper::test;
  if (size >= sizeof(vesper::transport::RingLayout)) CheckLayout(data);
  End end;
  for (; size >= 12; data += 12, size -= 12) {
    uint32_t what;
    uint64_t value;
    std::memcpy(&what, data, sizeof(what));
    std::memcpy(&value, data + 4, sizeof(value));
    Step(&end, what, value);
  }
  return 0;
}
