// Damaged messages of every command: cut short at every length, with bytes changed. They must end in a decode error or in a
// decoding that is as safe to use as any: never in a crash, a read beyond the message, or memory beyond the arena's limit.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "tests/wire/exchange.h"

namespace vesper::test {
namespace {

constexpr size_t kArena = size_t{1} << 20;
constexpr size_t kEveryLengthUpTo = 4096;
constexpr size_t kRandomLengths = 256;
constexpr int kFlips = 300;
constexpr uint64_t kExchanges = 5;  // everything there, at random, with one chained struct

// Copies of messages that end where an inaccessible page begins.
class GuardedBytes {
 public:
  GuardedBytes() {
    page_ = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    block_ =
        static_cast<uint8_t*>(mmap(nullptr, kSize + page_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(block_ + kSize, page_, PROT_NONE);
  }
  ~GuardedBytes() { munmap(block_, kSize + page_); }
  GuardedBytes(const GuardedBytes&) = delete;
  GuardedBytes& operator=(const GuardedBytes&) = delete;

  std::span<uint8_t> Copy(const uint8_t* bytes, size_t size) {
    if (size > kSize) std::abort();
    uint8_t* at = block_ + kSize - size;
    if (size != 0) std::memcpy(at, bytes, size);
    return {at, size};
  }

 private:
  static constexpr size_t kSize = size_t{1} << 20;
  size_t page_;
  uint8_t* block_;
};

// Lengths shorter than `size` to cut at.
std::vector<size_t> Cuts(size_t size, Random* random) {
  std::vector<size_t> cuts;
  for (size_t i = 0; i < std::min(size, kEveryLengthUpTo); ++i) cuts.push_back(i);
  for (size_t i = 0; size > kEveryLengthUpTo && i < kRandomLengths; ++i) {
    cuts.push_back(kEveryLengthUpTo + random->Below(size - kEveryLengthUpTo));
  }
  return cuts;
}

// Decodes a request as the server does. What decodes is used to the full: every input is read, every output written.
bool DecodeRequest(const CommandTable& command, std::span<const uint8_t> bytes, Random* random) {
  const wire::CommandCodec& codec = wire::kCodecs[static_cast<size_t>(command.id)];
  Arena arena(kArena);
  HostileMapper mapper;
  wire::Decoder decoder(bytes, &arena, &mapper);
  std::vector<uint64_t> storage((command.args.size + 7) / 8, 0);
  auto* args = reinterpret_cast<uint8_t*>(storage.data());
  codec.decode_request(decoder, args);
  EXPECT_LE(arena.used(), kArena + 16);
  if (!decoder.ok()) return false;
  Handles handles(false);
  Comparer(&handles).Request(command.args, args, args, Role::kIn);
  Answerer(random, &handles, Shape()).Answer(command.args, args, Role::kIn, false);
  wire::ByteBuffer reply;
  wire::Encoder encoder(&reply, &mapper);
  codec.encode_reply(encoder, args);
  return true;
}

// Decodes a reply into the caller's memory; true when it decodes. Nothing but outputs may have changed.
bool DecodeReply(Exchange* exchange, std::span<const uint8_t> bytes) {
  Arena arena(kArena);
  HostileMapper mapper;
  wire::Decoder decoder(bytes, &arena, &mapper);
  exchange->codec().decode_reply(decoder, exchange->client_args());
  EXPECT_EQ(exchange->memory().Damage(exchange->memory().writable()), "") << exchange->command().args.name;
  exchange->memory().Restore();
  return decoder.ok();
}

// Some exchanges of the command, each after its reply was encoded and its memory restored.
template <typename F>
void ForSomeExchanges(const CommandTable& command, F body) {
  for (uint64_t i = 0; i < kExchanges && !testing::Test::HasFailure(); ++i) {
    Shape shape;
    shape.full = i % 2 == 0;
    if (i == 2) shape.chain = 1;
    Exchange exchange(command, 7000 + i, shape, false);
    exchange.Encode();
    ASSERT_EQ(exchange.Deliver(), "");
    ASSERT_EQ(exchange.Return(), "");
    exchange.memory().Restore();
    body(&exchange);
  }
}

// Whether frames fill the bytes: what echoes stands in frames at the end of a reply, and a server of another registry may
// send fewer.
bool IsFrames(std::span<const uint8_t> bytes) {
  while (bytes.size() >= 8) {
    const uint64_t size = uint64_t{8} + wire::Load<uint32_t>(bytes.data() + 4);
    if (size > bytes.size()) return false;
    bytes = bytes.subspan(static_cast<size_t>(size));
  }
  return bytes.empty();
}

}  // namespace

void TestTruncation(const CommandTable& command) {
  GuardedBytes guarded;
  ForSomeExchanges(command, [&](Exchange* exchange) {
    Random random(1);
    for (const size_t size : Cuts(exchange->request().size(), &random)) {
      ASSERT_FALSE(DecodeRequest(command, guarded.Copy(exchange->request().data(), size), &random))
          << "request, " << size;
    }
    for (const size_t size : Cuts(exchange->reply().size(), &random)) {
      const std::span<const uint8_t> missing(exchange->reply().data() + size, exchange->reply().size() - size);
      ASSERT_TRUE(!DecodeReply(exchange, guarded.Copy(exchange->reply().data(), size)) || IsFrames(missing))
          << "reply, " << size;
    }
  });
}

void TestFlips(const CommandTable& command) {
  GuardedBytes guarded;
  ForSomeExchanges(command, [&](Exchange* exchange) {
    Random random(2);
    for (const bool is_request : {true, false}) {
      const wire::ByteBuffer& message = is_request ? exchange->request() : exchange->reply();
      for (int i = 0; i < kFlips && !message.empty(); ++i) {
        const auto bytes = guarded.Copy(message.data(), message.size());
        for (uint64_t changes = 1 + random.Below(3); changes > 0; --changes) {
          // Small changes meet counts and presence words, random ones everything else.
          uint8_t& byte = bytes[random.Below(bytes.size())];
          byte = static_cast<uint8_t>(random.OneIn(2) ? byte ^ 1u << random.Below(8) : random.Next());
        }
        is_request ? DecodeRequest(command, bytes, &random) : DecodeReply(exchange, bytes);
      }
    }
  });
}

}  // namespace vesper::test
