// Protects whoever reads the server's log from what clients say, and the server from whoever does not read it.
#include "server/base/line_writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string>

#include "runtime/descriptor.h"
#include "server/base/limits.h"

namespace vesper::server {
namespace {

std::string ReadAll(int fd) {
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  std::string text;
  std::array<char, 4096> bytes;
  for (ssize_t count; (count = read(fd, bytes.data(), bytes.size())) > 0;) {
    text.append(bytes.data(), static_cast<size_t>(count));
  }
  return text;
}

TEST(LineWriterTest, WhatIsNoTextIsEscaped) {
  EXPECT_EQ(Escaped("Grüße, 世界 ✓ \U0001f600"), "Grüße, 世界 ✓ \U0001f600");
  EXPECT_EQ(Escaped("a\n12:00 error forged\r\t\x1b[31m\a\x7f"), "a\\n12:00 error forged\\x0d\\x09\\x1b[31m\\x07\\x7f");
  EXPECT_EQ(Escaped("\xc2\x9b"
                    "2J"),
            "\\u009b2J");                                                     // C1: a terminal takes it for ESC [
  EXPECT_EQ(Escaped("x\xff\xc0\x80\xe2\x82"), "x\\xff\\xc0\\x80\\xe2\\x82");  // no UTF-8, too long, cut short
  EXPECT_EQ(Escaped("\xed\xa0\x80\xf4\x90\x80\x80"), "\\xed\\xa0\\x80\\xf4\\x90\\x80\\x80");
  EXPECT_EQ(Escaped("\xe2\x80\xae"
                    "evil"),
            "\\u202eevil");  // right to left
  EXPECT_EQ(Escaped(std::string_view("a\0b", 3)), "a\\x00b");
}

class LineWriterFds : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    int ends[2];
    ASSERT_EQ(GetParam() ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) : pipe2(ends, O_CLOEXEC), 0);
    read_ = Descriptor(ends[0]);
    write_ = Descriptor(ends[1]);
  }
  Descriptor read_;
  Descriptor write_;
};

TEST_P(LineWriterFds, NobodyReadsAndNothingWaits) {
  LineWriter writer(write_.get());
  const std::string line(500, 'x');
  for (int i = 0; i < 5000; ++i) writer.Write(line);  // far more than either holds
  EXPECT_GT(writer.left_out(), 1000u);
  const uint64_t left_out = writer.left_out();
  ReadAll(read_.get());
  writer.Write("after");
  EXPECT_EQ(writer.left_out(), 0u);
  const std::string text = ReadAll(read_.get());
  const std::string expected = std::to_string(left_out) + " lines were left out: nobody took them\nafter\n";
  ASSERT_GE(text.size(), expected.size());
  EXPECT_EQ(text.substr(text.size() - expected.size()), expected);
}

TEST_P(LineWriterFds, LongLinesAreCut) {
  LineWriter writer(write_.get());
  writer.Write(std::string(100000, 'y'));
  std::string expected(limits::kMaxLine, 'y');
  expected.append("...\n");
  EXPECT_EQ(ReadAll(read_.get()), expected);
}

INSTANTIATE_TEST_SUITE_P(All, LineWriterFds, testing::Bool(),
                         [](const auto& which) { return std::string(which.param ? "Socket" : "Pipe"); });

// Another process may share the pipe and want to wait.
TEST(LineWriterTest, APipeOfOthersStaysAsItIs) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const Descriptor reader(ends[0]), theirs(ends[1]), ours(dup(ends[1]));
  const LineWriter writer(ours.get());
  EXPECT_EQ(fcntl(theirs.get(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_NE(fcntl(ours.get(), F_GETFL) & O_NONBLOCK, 0);
}

}  // namespace
}  // namespace vesper::server
