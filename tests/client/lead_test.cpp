// Protects: how far the client runs ahead of its server is bounded by what the server says that commands cost, whatever the
// program posts, and nothing waits for a server that cannot say it.
#include "client/connection/lead.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "client/connection/connection.h"
#include "tests/client/scripted_server.h"

namespace vesper::client {
namespace {

constexpr auto kMark = static_cast<uint16_t>(wire::Control::kMark);
constexpr uint16_t kFirst = 1;
constexpr uint64_t kUnknownWithin = limits::kLeadNs / limits::kUnknownCostNs;

struct SilentHandler : EventHandler {
  void OnEvent(wire::EventKind, std::span<const uint8_t>) override {}
  void OnLost(std::string_view) override {}
};

void Learn(Lead* lead, uint16_t command, uint32_t ns) {
  const wire::CommandCost cost{command, ns};
  lead->Learn({reinterpret_cast<const uint8_t*>(&cost), sizeof(cost)});
}

// How many of the command may be posted until there is no room; marks are set as they are due.
uint64_t PostAll(Lead* lead, uint16_t command) {
  uint64_t posted = 0;
  for (; posted < 1'000'000 && lead->HasRoom(); ++posted) {
    if (lead->Post(command, 40)) lead->AddMark();
  }
  return posted;
}

TEST(Lead, WhatCommandsCostBoundsHowManyMayWait) {
  Lead lead;
  lead.Start();
  EXPECT_EQ(PostAll(&lead, kFirst), kUnknownWithin + 1);
  EXPECT_FALSE(lead.HasAmpleRoom());
  Learn(&lead, kFirst, 400'000);
  lead.Reached(limits::kLeadNs / limits::kMarkEveryNs);
  EXPECT_TRUE(lead.HasAmpleRoom());
  EXPECT_LE(PostAll(&lead, kFirst), limits::kLeadNs / 400'000 + 1);
  EXPECT_LE(lead.ahead_ns(), limits::kLeadNs + 400'000);
}

TEST(Lead, ARoundTripComesOnTop) {
  Lead lead;
  lead.Start();
  lead.NoteTrip(90'000'000);
  lead.NoteTrip(20'000'000);
  lead.NoteTrip(50'000'000);
  EXPECT_EQ(PostAll(&lead, kFirst), (limits::kLeadNs + 20'000'000) / limits::kUnknownCostNs + 1);
}

TEST(Lead, BulkCountsByItsBytes) {
  Lead lead;
  lead.Start();
  lead.Post(wire::kRecordings, 1024 * 100);
  EXPECT_EQ(lead.ahead_ns(), 101 * limits::kUnknownRecordingNs);
  Learn(&lead, wire::kRecordings, 10);
  lead.Post(wire::kRecordings, 1024 * 99);
  EXPECT_EQ(lead.ahead_ns(), 101 * limits::kUnknownRecordingNs + 1000);
  lead.Post(static_cast<uint16_t>(wire::Control::kHeartbeat), 8);
  EXPECT_EQ(lead.ahead_ns(), 101 * limits::kUnknownRecordingNs + 1000);
}

TEST(Lead, NobodyWaitsForAServerThatDoesNotAnswerMarks) {
  Lead lead;
  EXPECT_EQ(PostAll(&lead, kFirst), 1'000'000u);
}

TEST(Lead, AServerThatSaysNonsenseHoldsNobodyBackForEver) {
  Lead lead;
  lead.Start();
  PostAll(&lead, kFirst);
  lead.Reached(~uint64_t{0});
  lead.Reached(0);
  EXPECT_FALSE(lead.HasRoom()) << "it cannot have come to marks that were not sent";
  Learn(&lead, kCommandCount + 7, 5);
  Learn(&lead, kFirst, 0);
  lead.Reached(limits::kLeadNs / limits::kMarkEveryNs);
  EXPECT_TRUE(lead.HasAmpleRoom());
}

// As programs post: who has no room waits until the server says that it has come further, and that is all it waits for.
TEST(Lead, APosterGoesOnAsTheServerComesTo) {
  std::atomic<uint64_t> marks{0};
  ScriptedServer server([&](ScriptedServer&, const Received& record) {
    if (record.command == kMark) ++marks;
  });
  SilentHandler handler;
  Statistics statistics;
  Connection connection(server.TakeClientEnd(), &handler, &statistics);
  connection.BoundLead();
  constexpr uint64_t kPosts = 2000;
  std::atomic<uint64_t> posted{0};
  std::thread poster([&] {
    while (posted < kPosts && connection.AwaitRoom()) {
      connection.Post(kFirst, [](wire::ByteBuffer* out) { out->Append("record..", 8); });
      ++posted;
    }
  });
  const uint64_t first_marks = kUnknownWithin * limits::kUnknownCostNs / limits::kMarkEveryNs;
  EXPECT_TRUE(server.AwaitRecords(kMark, first_marks));
  EXPECT_LE(posted, kUnknownWithin + 1);
  struct {
    wire::Progress progress;
    wire::CommandCost cost;
  } told{{first_marks}, {kFirst, 1'000'000}};
  server.SendEvent(wire::EventKind::kProgress, &told, sizeof(told));
  while (posted < kPosts) {
    const uint64_t reached = marks;
    server.SendEvent(wire::EventKind::kProgress, &reached, sizeof(reached));
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  poster.join();
  EXPECT_EQ(server.AwaitRecords(kFirst, kPosts), true);
  // Twenty of a millisecond each at once: it was stopped again and again.
  EXPECT_GE(statistics.held_back, kPosts / 4 / 20);
}

}  // namespace
}  // namespace vesper::client
