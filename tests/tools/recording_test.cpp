// Recordings as files, and the parts of a replay that need no server.
#include "tools/recording/recording.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "generated/trace/printers.h"
#include "generated/wire/all.h"
#include "runtime/wire/control.h"
#include "tools/recording/addresses.h"
#include "tools/recording/dialect.h"
#include "tools/recording/memory_copy.h"

namespace vesper::tools::recording {
namespace {

class RecordingTest : public testing::Test {
 protected:
  RecordingTest() { greeting_.hello.program = "program"; }
  ~RecordingTest() override { std::filesystem::remove(path_); }

  static std::vector<std::string> Names() { return {kCommandNames, kCommandNames + kCommandCount}; }

  // A recording of so many messages, the i-th of which holds `i * 1000` bytes that compress and some that do not.
  void Write(uint64_t messages) {
    greeting_.hello.commands = Names();
    std::string error;
    const auto writer = Writer::Create(path_, greeting_, &error);
    ASSERT_NE(writer, nullptr) << error;
    for (uint64_t i = 0; i < messages; ++i) {
      ASSERT_TRUE(writer->Add(i % 2 == 0, MessageKind::kBatch, i, Payload(i)));
      if (i % 10 == 9) writer->Flush();
    }
    EXPECT_EQ(writer->messages(), messages);
  }
  static std::vector<uint8_t> Payload(uint64_t i) {
    std::vector<uint8_t> payload(i * 1000, static_cast<uint8_t>(i));
    std::minstd_rand random(static_cast<unsigned>(i + 1));
    for (size_t at = 0; at < payload.size() / 2; ++at) payload[at] = static_cast<uint8_t>(random());
    return payload;
  }
  // How many messages can be read, all of which are as they were written.
  uint64_t Read(std::string* flaw) {
    const auto reader = Reader::Open(path_, flaw);
    if (reader == nullptr) return 0;
    EXPECT_EQ(reader->greeting().hello.program, "program");
    EXPECT_EQ(reader->greeting().hello.commands, Names());
    uint64_t count = 0;
    for (Entry entry; reader->Next(&entry); ++count) {
      EXPECT_EQ(entry.sent, count % 2 == 0);
      EXPECT_EQ(entry.sequence, count);
      EXPECT_EQ(entry.payload, Payload(count));
    }
    *flaw = reader->flaw();
    return count;
  }

  const std::string path_ =
      (std::filesystem::temp_directory_path() / ("vesper-recording-" + std::to_string(getpid()))).string();
  Greeting greeting_;
};

TEST_F(RecordingTest, ComesBackAsItWasWritten) {
  Write(35);
  std::string flaw;
  EXPECT_EQ(Read(&flaw), 35u);
  EXPECT_EQ(flaw, "");
}

TEST_F(RecordingTest, WhatWasWrittenBeforeTheEndIsMissingCanBeRead) {
  Write(35);
  const auto size = std::filesystem::file_size(path_);
  uint64_t before = 35;
  for (auto cut = size - 1; cut > size / 40; cut -= size / 40) {
    std::filesystem::resize_file(path_, cut);
    std::string flaw;
    const uint64_t count = Read(&flaw);
    EXPECT_LE(count, before);
    before = count;
    if (count == 0) break;
    EXPECT_TRUE(count % 10 == 0) << count;  // whole chunks
  }
  EXPECT_LT(before, 30u);
}

TEST_F(RecordingTest, ChangedBytesAreNoticed) {
  Write(12);
  std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(std::filesystem::file_size(path_) - 100));
  file.put(static_cast<char>(0xa5)).put(static_cast<char>(0x5a)).put('!');
  file.close();
  std::string flaw;
  EXPECT_EQ(Read(&flaw), 10u);
  EXPECT_NE(flaw.find("changed"), flaw.npos) << flaw;
}

TEST_F(RecordingTest, OtherFilesAreRefused) {
  std::ofstream(path_) << "#!/bin/sh\nexit 0\n";
  std::string error;
  EXPECT_EQ(Reader::Open(path_, &error), nullptr);
  EXPECT_NE(error.find("is no recording"), error.npos) << error;
  EXPECT_EQ(Reader::Open("/nonexistent/recording", &error), nullptr);
}

TEST(MemoryCopyTest, EqualBytesHaveEqualHashes) {
  MemoryCopy one, other;
  const std::vector<uint8_t> bytes(10'000, 7);
  one.Write(4000, bytes);
  for (size_t i = 0; i < bytes.size(); ++i) other.Write(4000 + i, std::span(bytes).subspan(i, 1));
  EXPECT_EQ(one.Hash(), other.Hash());
  EXPECT_EQ(one.Hash(5000, 6000), other.Hash(5000, 6000));
  const std::vector<uint8_t> zeros(20'000, 0);
  other.Write(1 << 20, zeros);  // as where nothing was written
  EXPECT_EQ(one.Hash(), other.Hash());
  const uint8_t eight = 8;
  other.Write(9000, {&eight, 1});
  EXPECT_NE(one.Hash(), other.Hash());
  EXPECT_NE(one.Hash(5000, 6000), other.Hash(5000, 6000));
  EXPECT_EQ(one.Hash(4000, 5000), other.Hash(4000, 5000));
  other.Write(9000, std::span(bytes).first(1));
  EXPECT_EQ(one.Hash(), other.Hash());
  std::vector<uint8_t> read(3);
  one.Read(3998, read);
  EXPECT_EQ(read, (std::vector<uint8_t>{0, 0, 7}));
}

TEST(AddressesTest, WordsWithinWhatMovedAreFound) {
  Addresses addresses;
  addresses.NoteBuffer(5, 0x1000);
  EXPECT_TRUE(addresses.empty());
  addresses.Learn(5, 0x7f0000000000, 0x7e0000000000);
  addresses.Learn(6, 0x7f0000100000, 0x7f0000100000);  // has not moved
  EXPECT_EQ(addresses.moved(), 1u);
  EXPECT_EQ(addresses.Moved(0x7f0000000fff), 0x7e0000000fffu);
  EXPECT_EQ(addresses.Moved(0x7f0000001000), std::nullopt);
  EXPECT_EQ(addresses.Moved(0x7f0000100000), std::nullopt);
  const uint64_t words[] = {1, 0x7f0000000010, 0x7f0000001000, 0x7f0000000000};
  std::vector<std::pair<size_t, uint64_t>> found;
  addresses.ForEachIn({reinterpret_cast<const uint8_t*>(words), sizeof(words)}, 4,
                      [&](size_t at, uint64_t now) { found.emplace_back(at, now); });
  EXPECT_EQ(found, (std::vector<std::pair<size_t, uint64_t>>{{8, 0x7e0000000010}, {24, 0x7e0000000000}}));
}

// A record of that command with such arguments, as a client's.
template <typename Args>
void Append(wire::ByteBuffer* batch, Command command, const Args& args, uint16_t flags = 0) {
  const size_t mark = wire::BeginRecord(batch, static_cast<uint16_t>(command), flags);
  wire::Encoder encoder(batch);
  EncodeRequest(encoder, args);
  wire::EndRecord(batch, mark);
}

std::span<const uint8_t> Of(const wire::ByteBuffer& buffer) { return {buffer.data(), buffer.size()}; }

TEST(DialectTest, CommandsAreKnownByTheNamesOfTheRecording) {
  const Dialect other({"vkCmdDraw", "vkNeverHeardOf", "vkCreateBuffer"});
  EXPECT_TRUE(other.Is(0, Command::kCmdDraw));
  EXPECT_EQ(other.Number(1), Dialect::kUnknown);
  EXPECT_TRUE(other.Is(2, Command::kCreateBuffer));
  EXPECT_EQ(other.Number(3), Dialect::kUnknown);
  EXPECT_EQ(other.Name(1), "vkNeverHeardOf");
  EXPECT_EQ(other.Name(static_cast<uint16_t>(wire::Control::kMemoryWrite)), "memory write");
}

TEST(DialectTest, NamesForPeopleAreLeftOutAndTheirAnswersKept) {
  const Dialect dialect({kCommandNames, kCommandNames + kCommandCount});
  wire::DestroyBufferArgs destroy{};
  destroy.buffer = reinterpret_cast<VkBuffer>(uintptr_t{3});
  VkDebugUtilsObjectNameInfoEXT info{VK_STRUCTURE_TYPE_DEBUG_UTILS_OBJECT_NAME_INFO_EXT, nullptr, VK_OBJECT_TYPE_BUFFER,
                                     3, "secret"};
  wire::SetDebugUtilsObjectNameEXTArgs name{};
  name.pNameInfo = &info;
  wire::ByteBuffer batch;
  Append(&batch, Command::kDestroyBuffer, destroy);
  Append(&batch, Command::kSetDebugUtilsObjectNameEXT, name);
  Append(&batch, Command::kSetDebugUtilsObjectNameEXT, name, wire::kWantsReply);
  Append(&batch, Command::kDestroyBuffer, destroy);
  const std::vector<uint8_t> kept = WithoutDebugNames(dialect, Of(batch));
  std::vector<std::string> names;
  uint64_t asked = 0;
  EXPECT_TRUE(ForEachRecord(kept, 9, [&](const auto& header, auto, auto, uint64_t sequence) {
    names.push_back(dialect.Name(header.command));
    asked += sequence;
  }));
  EXPECT_EQ(names, (std::vector<std::string>{"vkDestroyBuffer", "heartbeat", "vkDestroyBuffer"}));
  EXPECT_EQ(asked, 9u);
  const std::string text(kept.begin(), kept.end());
  EXPECT_EQ(text.find("secret"), text.npos);
}

TEST(PrinterTest, ShowsValuesByName) {
  const uint32_t families[] = {0, 1};
  VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                          nullptr,
                          0,
                          4096,
                          VK_BUFFER_USAGE_TRANSFER_DST_BIT | VK_BUFFER_USAGE_STORAGE_BUFFER_BIT,
                          VK_SHARING_MODE_CONCURRENT,
                          2,
                          families};
  VkExternalMemoryBufferCreateInfo external{VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO, nullptr,
                                            VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT};
  VkBufferOpaqueCaptureAddressCreateInfo capture{VK_STRUCTURE_TYPE_BUFFER_OPAQUE_CAPTURE_ADDRESS_CREATE_INFO, &external,
                                                 7};
  info.pNext = &capture;
  const ObjectId id = uint64_t{2} << 32 | 12;
  wire::CreateBufferArgs args{};
  args.pCreateInfo = &info;
  args.pBuffer_ids = &id;
  std::string text;
  Printer printer(&text);
  wire::kPrinters[static_cast<size_t>(Command::kCreateBuffer)](printer, &args);
  EXPECT_EQ(text,
            "device=null, pCreateInfo={VkBufferOpaqueCaptureAddressCreateInfo={opaqueCaptureAddress=7}, "
            "VkExternalMemoryBufferCreateInfo={handleTypes=OPAQUE_FD}, flags=0, size=4096, "
            "usage=TRANSFER_DST|STORAGE_BUFFER, sharingMode=CONCURRENT, queueFamilyIndexCount=2, "
            "pQueueFamilyIndices=[0, 1]}, pBuffer=Buffer 12.2");
}

}  // namespace
}  // namespace vesper::tools::recording
