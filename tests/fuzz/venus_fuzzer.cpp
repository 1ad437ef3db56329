// The front end for Mesa's driver against one that is hostile. The input's first byte says what the rest is: the socket's bytes, or a
// ring's. The session answers nothing but refusals: what it does with records is fuzz_server's.
#include <algorithm>
#include <chrono>
#include <memory>
#include <span>

#include "runtime/wire/record.h"
#include "server/venus/venus_channel.h"
#include "tests/venus/fake_driver.h"

namespace vesper::test {
namespace {

// Takes what there is, as a session's thread does, and refuses what is asked. False when the connection has ended.
bool Look(venus::VenusChannel* channel) {
  for (int i = 0; i < 40; ++i) {
    Message message;
    const ChannelStatus status = channel->Receive(&message, std::chrono::milliseconds(0));
    if (status == ChannelStatus::kTimeout) continue;
    if (status != ChannelStatus::kOk) return false;
    const wire::ReplyHeader refused{wire::ReplyKind::kRefused, 0};
    const std::span<const uint8_t> part(reinterpret_cast<const uint8_t*>(&refused), sizeof(refused));
    if (message.sequence != 0) channel->Send(MessageKind::kReply, message.sequence, {&part, 1});
  }
  return true;
}

std::unique_ptr<Memory> MakeMemory(FakeDriver* driver, venus::VenusChannel* channel, uint32_t size) {
  driver->Say(Vtest::kCreateBlob, {2, 1, size, 0, 0, 0});
  if (!Look(channel)) return nullptr;
  const std::vector<uint32_t> answer = driver->Hear();
  auto memory = std::make_unique<Memory>(driver->HearFile(), size);
  memory->number = answer.front();
  return memory;
}

void FuzzRing(FakeDriver* driver, venus::VenusChannel* channel, std::span<const uint8_t> bytes) {
  const auto replies = MakeMemory(driver, channel, 4096);
  const auto ring = MakeMemory(driver, channel, kRingSize);
  driver->Submit(FakeDriver::RingOf(7, ring->number));
  Look(channel);
  FakeDriver::Put(ring.get(),
                  Words().Command(venus::kSetReplyCommandStreamMESA).U64(1).U32(replies->number).U64(0).U64(4096));
  Look(channel);
  const size_t size = std::min<size_t>(bytes.size(), kBuffer - 64) / 4 * 4;
  Words words;
  for (size_t i = 0; i < size; i += 4) {
    uint32_t word;
    std::memcpy(&word, bytes.data() + i, sizeof(word));
    words.U32(word);
  }
  FakeDriver::Put(ring.get(), words);
  Look(channel);
}

}  // namespace
}  // namespace vesper::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace vesper;
  if (size == 0) return 0;
  test::FakeDriver driver;
  venus::VenusChannel channel(driver.Connect(), venus::VenusChannel::Options{1 << 12, size_t{8} << 20});
  driver.SayName();
  if (!test::Look(&channel)) return 0;
  const std::span<const uint8_t> rest(data + 1, size - 1);
  if (data[0] % 2 == 0) {
    driver.Write(rest.data(), std::min<size_t>(rest.size(), 4096));  // answers are not read
    test::Look(&channel);
  } else {
    test::FuzzRing(&driver, &channel, rest);
  }
  return 0;
}
