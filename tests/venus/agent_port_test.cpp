// The port of a guest's vesper-agent, with a socket pair in its place: what an agent that is broken or hostile may say, and that two
// sessions never have the same memory.
#include "server/agent/agent_port.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace vesper::server {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kFileBytes = 64 * kPage;
using Place = AgentFrame::Place;

// The end that is in the guest.
class Agent {
 public:
  explicit Agent(int port) : port_(port) {}
  void Say(const void* bytes, size_t size) const {
    EXPECT_EQ(send(port_.get(), bytes, size, MSG_NOSIGNAL), static_cast<ssize_t>(size));
  }
  void Greet() const { Say(AgentFrame::kGreeting.data(), AgentFrame::kGreeting.size()); }
  void Say(AgentFrame::Kind kind, const std::vector<uint8_t>& body) const {
    const AgentFrame frame{kind, static_cast<uint32_t>(body.size())};
    std::vector<uint8_t> all(sizeof(frame) + body.size());
    std::memcpy(all.data(), &frame, sizeof(frame));
    std::copy(body.begin(), body.end(), all.begin() + sizeof(frame));
    Say(all.data(), all.size());
  }
  // The kind of the next frame; kEnd where there is none any more.
  AgentFrame::Kind Hear(std::vector<uint8_t>* body) const {
    AgentFrame frame;
    if (recv(port_.get(), &frame, sizeof(frame), MSG_WAITALL) != sizeof(frame)) return AgentFrame::kEnd;
    body->resize(frame.bytes);
    if (frame.bytes != 0) {
      EXPECT_EQ(recv(port_.get(), body->data(), frame.bytes, MSG_WAITALL), static_cast<ssize_t>(frame.bytes));
    }
    return static_cast<AgentFrame::Kind>(frame.kind);
  }
  AgentFrame::Make HearMake() const {
    std::vector<uint8_t> body;
    AgentFrame::Make asked;
    AgentFrame::Kind kind = Hear(&body);
    while (kind == AgentFrame::kDrop) kind = Hear(&body);  // what was refused before
    EXPECT_EQ(kind, AgentFrame::kMake);
    if (body.size() == sizeof(asked)) std::memcpy(&asked, body.data(), sizeof(asked));
    return asked;
  }
  void SayMade(uint64_t number, const std::vector<Place>& places) const {
    std::vector<uint8_t> body(sizeof(number) + places.size() * sizeof(Place));
    std::memcpy(body.data(), &number, sizeof(number));
    if (!places.empty()) std::memcpy(body.data() + sizeof(number), places.data(), places.size() * sizeof(Place));
    Say(AgentFrame::kMade, body);
  }
  int port() const { return port_.get(); }

 private:
  const Descriptor port_;
};

class AgentPortTest : public testing::Test {
 protected:
  struct Line {
    std::unique_ptr<Agent> agent;
    std::unique_ptr<AgentPort> port;
  };
  AgentPortTest() : file_(memfd_create("guest", MFD_CLOEXEC)) { EXPECT_EQ(ftruncate(file_.get(), kFileBytes), 0); }
  Descriptor OpenFile() const {
    return Descriptor(open(("/proc/self/fd/" + std::to_string(file_.get())).c_str(), O_RDWR | O_CLOEXEC));
  }
  Line Connect() const {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    Line line{std::make_unique<Agent>(ends[0]), AgentPort::Make(Descriptor(ends[1]), OpenFile())};
    line.agent->Greet();
    return line;
  }
  // What the host makes of an agent that says so of memory of that size, whose mark is at the first place.
  std::optional<NumberedPages> Answer(const Line& line, uint64_t size, const std::vector<Place>& places,
                                      bool marked = true) const {
    auto made = std::async(std::launch::async, [&] { return line.port->Make(size); });
    const AgentFrame::Make asked = line.agent->HearMake();
    EXPECT_EQ(asked.bytes, size);
    if (marked && !places.empty() && places.front().offset < kFileBytes) {
      EXPECT_EQ(pwrite(file_.get(), &asked.mark, sizeof(asked.mark), static_cast<off_t>(places.front().offset)),
                static_cast<ssize_t>(sizeof(asked.mark)));
    }
    line.agent->SayMade(asked.number, places);
    return made.get();
  }

  const Descriptor file_;
};

TEST_F(AgentPortTest, PlacesOfAFileAreMappedOneAfterTheOther) {
  const Line line = Connect();
  const auto pages = Answer(line, 3 * kPage, {{8 * kPage, 2 * kPage}, {2 * kPage, kPage}});
  ASSERT_TRUE(pages);
  uint8_t* const data = MapPlaces(line.port->file(), pages->places, kPage);
  ASSERT_NE(data, nullptr);
  EXPECT_EQ(data[0], 0) << "the mark is gone";
  const uint8_t seven = 7, eight = 8;
  EXPECT_EQ(pwrite(file_.get(), &seven, 1, 9 * kPage + 1), 1);
  EXPECT_EQ(pwrite(file_.get(), &eight, 1, 2 * kPage + 2), 1);
  EXPECT_EQ(data[kPage + 1], 7);
  EXPECT_EQ(data[2 * kPage + 2], 8);
  munmap(data, 3 * kPage);
}

TEST_F(AgentPortTest, WhatIsNotTheGuestsMemoryIsRefused) {
  const Line line = Connect();
  const std::vector<std::vector<Place>> wrong = {
      {},
      {{kPage, kPage}},
      {{kPage, 3 * kPage}},
      {{kPage + 8, 2 * kPage}},
      {{kPage, 2 * kPage - 8}, {8 * kPage, 8}},
      {{kFileBytes - kPage, 2 * kPage}},
      {{UINT64_MAX - kPage + 1, 2 * kPage}},
      {{kPage, 0}, {4 * kPage, 2 * kPage}},
      {{kPage, UINT64_MAX - kPage + 1}, {4 * kPage, 3 * kPage}},
      {{kPage, kPage}, {kPage, kPage}},
      {{kFileBytes, 2 * kPage}},
  };
  for (const auto& places : wrong) EXPECT_FALSE(Answer(line, 2 * kPage, places));
  EXPECT_FALSE(Answer(line, kPage, {{5 * kPage, kPage}}, false)) << "a file that is somewhere else";
  EXPECT_TRUE(Answer(line, 2 * kPage, {{kPage, 2 * kPage}})) << "what was refused is not held";
  EXPECT_FALSE(line.port->Make(kFileBytes + kPage));
  EXPECT_FALSE(line.port->Make(100));
}

// Until the worker of a killed session has ended, however that happens, nobody else gets its memory.
TEST_F(AgentPortTest, MemoryOfAnotherSessionIsNotGivenOut) {
  Line one = Connect();
  const Line other = Connect();
  const auto held = Answer(one, 2 * kPage, {{kPage, 2 * kPage}});
  ASSERT_TRUE(held);
  EXPECT_FALSE(Answer(one, kPage, {{2 * kPage, kPage}})) << "nor twice within a session";
  auto made = std::async(std::launch::async, [&] { return other.port->Make(kPage); });
  const AgentFrame::Make asked = other.agent->HearMake();
  EXPECT_EQ(pwrite(file_.get(), &asked.mark, sizeof(asked.mark), 2 * kPage), static_cast<ssize_t>(sizeof(asked.mark)));
  other.agent->SayMade(asked.number, {{2 * kPage, kPage}});
  EXPECT_EQ(made.wait_for(std::chrono::milliseconds(100)), std::future_status::timeout);
  one.port.reset();
  EXPECT_TRUE(made.get());
}

TEST_F(AgentPortTest, WhatIsDroppedMayBeUsedAgain) {
  const Line line = Connect();
  const auto first = Answer(line, kPage, {{kPage, kPage}});
  ASSERT_TRUE(first);
  line.port->Drop(first->number);
  std::vector<uint8_t> body;
  EXPECT_EQ(line.agent->Hear(&body), AgentFrame::kDrop);
  EXPECT_EQ(body.size(), sizeof(uint64_t));
  EXPECT_TRUE(Answer(line, kPage, {{kPage, kPage}}));
}

TEST_F(AgentPortTest, WhatTheDriverSaysComesInOrder) {
  const Line line = Connect();
  const Descriptor stream(line.port->TakeStream());
  std::vector<uint8_t> sent(300000);
  for (size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<uint8_t>(i * 7);
  for (size_t at = 0; at < sent.size();) {
    const size_t size = std::min<size_t>(AgentFrame::kMost, sent.size() - at);
    line.agent->Say(AgentFrame::kBytes,
                    {sent.begin() + static_cast<ptrdiff_t>(at), sent.begin() + static_cast<ptrdiff_t>(at + size)});
    at += size;
  }
  // Memory is given although nobody reads what the driver said.
  EXPECT_TRUE(Answer(line, kPage, {{kPage, kPage}}));
  line.agent->Say(AgentFrame::kBytes, {1});
  sent.push_back(1);
  std::vector<uint8_t> received;
  while (received.size() < sent.size()) {
    uint8_t piece[1000];
    pollfd entry{stream.get(), POLLIN, 0};
    ASSERT_EQ(poll(&entry, 1, 10000), 1);
    const ssize_t count = read(stream.get(), piece, sizeof(piece));
    ASSERT_GT(count, 0);
    received.insert(received.end(), piece, piece + count);
  }
  EXPECT_EQ(received, sent);
}

// After each the front end hears the end, and who waits for memory waits no longer.
TEST_F(AgentPortTest, NonsenseAndTheEndEndTheSession) {
  const uint32_t huge[2] = {AgentFrame::kBytes, AgentFrame::kMost + 1};
  const uint32_t unknown[2] = {77, 0};
  const uint32_t end[2] = {AgentFrame::kEnd, 0};
  for (const uint32_t* frame : {huge, unknown, end}) {
    const Line line = Connect();
    const Descriptor stream(line.port->TakeStream());
    auto made = std::async(std::launch::async, [&] { return line.port->Make(kPage); });
    line.agent->HearMake();
    line.agent->Say(frame, sizeof(huge));
    EXPECT_FALSE(made.get());
    pollfd entry{stream.get(), POLLIN, 0};
    EXPECT_EQ(poll(&entry, 1, 10000), 1);
    uint8_t byte;
    EXPECT_EQ(read(stream.get(), &byte, 1), 0);
    EXPECT_FALSE(line.port->Make(kPage));
  }
}

TEST_F(AgentPortTest, WhoeverDoesNotGreetIsNoAgent) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const Agent agent(ends[0]);
  const auto port = AgentPort::Make(Descriptor(ends[1]), OpenFile());
  const Descriptor stream(port->TakeStream());
  agent.Say("VENUS002", 8);
  pollfd entry{stream.get(), POLLIN, 0};
  EXPECT_EQ(poll(&entry, 1, 10000), 1);
  uint8_t byte;
  EXPECT_EQ(read(stream.get(), &byte, 1), 0);
}

TEST_F(AgentPortTest, AnEventIsSaidWhenItComesToPass) {
  const Line line = Connect();
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const Descriptor writing(ends[1]);
  EXPECT_TRUE(line.port->PassEvent(Descriptor(ends[0])));
  std::vector<uint8_t> passed, signalled;
  EXPECT_EQ(line.agent->Hear(&passed), AgentFrame::kPassEvent);
  pollfd entry{line.agent->port(), POLLIN, 0};
  EXPECT_EQ(poll(&entry, 1, 50), 0);
  EXPECT_EQ(write(writing.get(), "x", 1), 1);
  EXPECT_EQ(line.agent->Hear(&signalled), AgentFrame::kSignal);
  EXPECT_EQ(signalled, passed);
}

}  // namespace
}  // namespace vesper::server
