// Bytes that Mesa's stock driver sent (tests/venus/record): each command is read to its last byte, and written again by the driver's
// side of these tests comes out as it was; so do the replies. What both of our sides might misunderstand alike shows here.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "generated/venus/structs.h"
#include "generated/wire/all.h"
#include "generated/wire/codecs.h"
#include "server/venus/walker.h"
#include "tests/venus/peer.h"
#include "tests/venus/same_objects.h"
#include "tests/venus/samples.h"

namespace vesper::test {
namespace {

std::vector<uint8_t> Vector(const wire::ByteBuffer& bytes) { return {bytes.data(), bytes.data() + bytes.size()}; }

// Where the first difference is, and what is there in both. Behind strings the driver leaves what it had there, within a word, and
// we write zeros.
std::string Difference(const std::vector<uint8_t>& written, const std::vector<uint8_t>& recorded) {
  const auto is_same = [&](const uint8_t& ours, const uint8_t& theirs) {
    return ours == theirs || (ours == 0 && (&ours - written.data()) % 4 != 0);
  };
  const auto [at, other] = std::mismatch(written.begin(), written.end(), recorded.begin(), recorded.end(), is_same);
  if (at == written.end() && other == recorded.end()) return "";
  std::string text = "at " + std::to_string(at - written.begin()) + " of " + std::to_string(written.size()) + " and " +
                     std::to_string(recorded.size()) + ":";
  for (auto i = at; i != written.end() && i - at < 16; ++i) text += " " + std::to_string(*i);
  text += " |";
  for (auto i = other; i != recorded.end() && i - other < 16; ++i) text += " " + std::to_string(*i);
  return text;
}

// The driver leaves the link of what it chains for the renderer alone; we drop it.
bool HasOwn(const venus::Reader& reader) { return reader.Held(venus::kVkDeviceQueueTimelineInfoMESA); }

TEST(Recorded, CommandsAreReadToTheLastByteAndComeOutAsTheyWere) {
  std::map<uint32_t, int> seen;
  for (const Sample& sample : Samples()) {
    if (sample.number >= venus::kNumbers || venus::kCommands[sample.number] == nullptr) continue;
    const venus::CommandTable& command = *venus::kCommands[sample.number];
    SCOPED_TRACE(command.arguments.name);
    Arena arena(size_t{16} << 20);
    auto* args = static_cast<uint8_t*>(arena.Allocate(wire::kCodecs[static_cast<size_t>(command.command)].args_size));
    SameObjects objects;
    venus::Reader reader(sample.request, &arena, &objects);
    EXPECT_EQ(reader.U32(), sample.number);
    const uint32_t flags = reader.U32();
    reader.Request(command, args);
    ASSERT_TRUE(reader.ok()) << reader.error();
    EXPECT_EQ(reader.remaining(), 0u);
    ++seen[sample.number];
    wire::ByteBuffer again;
    WriteRequest(command, args, &again);
    std::vector<uint8_t> written = Vector(again);
    written[4] = static_cast<uint8_t>(flags);
    if (!HasOwn(reader)) {
      EXPECT_EQ(Difference(written, sample.request), "");
    }
    if (sample.reply.empty()) continue;
    EXPECT_EQ(ReadReply(command, sample.reply, args), "");
    wire::ByteBuffer reply;
    venus::WriteReply(command, args, reader.made(), objects, &reply);
    EXPECT_EQ(Difference(Vector(reply), sample.reply), "");
  }
  EXPECT_GT(seen.size(), 100u);
}

// Known by heart: vkEnumerateInstanceVersion, and the answer 1.3.239.
TEST(Recorded, TheFirstCommandOfAll) {
  const std::vector<uint8_t> request = Bytes("89000000010000000100000000000000");
  const venus::CommandTable& command = *venus::kCommands[0x89];
  EXPECT_STREQ(command.arguments.name, "vkEnumerateInstanceVersion");
  Arena arena(4096);
  auto* args = static_cast<uint8_t*>(arena.Allocate(sizeof(wire::EnumerateInstanceVersionArgs)));
  SameObjects objects;
  venus::Reader reader(request, &arena, &objects);
  reader.U64();
  reader.Request(command, args);
  ASSERT_TRUE(reader.ok());
  *reinterpret_cast<wire::EnumerateInstanceVersionArgs*>(args)->pApiVersion = VK_MAKE_API_VERSION(0, 1, 3, 239);
  wire::ByteBuffer reply;
  venus::WriteReply(command, args, {}, objects, &reply);
  EXPECT_EQ(Vector(reply), Bytes("89000000000000000100000000000000ef304000"));
}

}  // namespace
}  // namespace vesper::test
