// Bytes that Mesa's stock driver sent (tests/venus/record): each command is read to its last byte, and written again by the driver's
// side of these tests comes out as it was; so do the replies. What both of our sides might misunderstand alike shows here.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "generated/venus/structs.h"
#include "generated/wire/all.h"
#include "generated/wire/codecs.h"
#include "server/venus/walker.h"
#include "tests/venus/peer.h"
#include "tests/venus/same_objects.h"

namespace vesper::test {
namespace {

std::vector<uint8_t> Bytes(const std::string& text) {
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes.push_back(static_cast<uint8_t>(std::stoul(text.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

std::vector<uint8_t> Vector(const wire::ByteBuffer& bytes) { return {bytes.data(), bytes.data() + bytes.size()}; }

struct Sample {
  uint32_t number = 0;
  std::vector<uint8_t> request, reply;
};

std::vector<Sample> Samples() {
  std::ifstream file(VESPER_RECORDED);
  std::vector<Sample> samples;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("#")) continue;
    std::istringstream words(line);
    Sample sample;
    std::string request, reply;
    words >> sample.number >> request >> reply;
    sample.request = Bytes(request);
    sample.reply = Bytes(reply);
    samples.push_back(std::move(sample));
  }
  return samples;
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
      EXPECT_EQ(written, sample.request);
    }
    if (sample.reply.empty()) continue;
    EXPECT_EQ(ReadReply(command, sample.reply, args), "");
    wire::ByteBuffer reply;
    venus::WriteReply(command, args, reader.made(), objects, &reply);
    EXPECT_EQ(Vector(reply), sample.reply);
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
