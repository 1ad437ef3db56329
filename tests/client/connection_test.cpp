// Protects: batching, exactly one reader that hands over, replies in any order, and that loss wakes everyone.
#include "client/connection/connection.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include "client/base/limits.h"
#include "tests/client/scripted_server.h"

namespace vesper::client {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr uint16_t kFirst = 1;
constexpr uint16_t kSecond = 2;

struct CountingHandler : EventHandler {
  void OnEvent(wire::EventKind, std::span<const uint8_t>) override { ++events; }
  void OnLost(std::string_view) override { ++losses; }
  std::atomic<int> events{0};
  std::atomic<int> losses{0};
};

struct ClientSide {
  explicit ClientSide(ScriptedServer* server, const Timing& timing = {})
      : connection(server->TakeClientEnd(), &handler, &statistics, timing) {}

  Connection::Posted Post(uint16_t command, uint64_t value = 0) {
    return connection.Post(command, [&](wire::ByteBuffer* out) { out->Append(&value, sizeof(value)); });
  }
  // The reply's value, or ~0 when there is none.
  uint64_t Ask(uint16_t command, uint64_t value = 0) {
    Reply reply;
    const auto posted = connection.Ask(
        command, [&](wire::ByteBuffer* out) { out->Append(&value, sizeof(value)); }, &reply);
    uint64_t answer = ~uint64_t{0};
    if (posted == Connection::Posted::kOk && reply.body().size() == sizeof(answer)) {
      std::memcpy(&answer, reply.body().data(), sizeof(answer));
    }
    return answer;
  }
  uint64_t round_trips() const { return statistics.round_trips.load(); }

  CountingHandler handler;
  Statistics statistics;
  Connection connection;
};

ScriptedServer::OnRecord Echo() {
  return [](ScriptedServer& server, const Received& record) {
    if (record.sequence != 0) server.Answer(record.sequence, record.body);
  };
}

TEST(Connection, PostsTravelInOrderWithTheNextQuestion) {
  ScriptedServer server(Echo());
  ClientSide client(&server);
  for (uint64_t i = 0; i < 1000; ++i) EXPECT_EQ(client.Post(kFirst, i), Connection::Posted::kOk);
  EXPECT_EQ(client.round_trips(), 0u);
  EXPECT_EQ(client.Ask(kSecond, 42), 42u);
  EXPECT_EQ(client.round_trips(), 1u);
  const auto records = server.Records(kFirst);
  ASSERT_EQ(records.size(), 1000u);
  for (uint64_t i = 0; i < 1000; ++i) {
    uint64_t value = 0;
    std::memcpy(&value, records[i].body.data(), sizeof(value));
    EXPECT_EQ(value, i);
  }
}

TEST(Connection, ALonelyRecordIsSentByTheBackgroundThread) {
  ScriptedServer server(Echo());
  ClientSide client(&server);
  std::this_thread::sleep_for(milliseconds(150));  // the background thread now sleeps for long
  client.Post(kFirst);
  EXPECT_TRUE(server.AwaitRecords(kFirst, 1));
  EXPECT_EQ(client.round_trips(), 0u);
}

TEST(Connection, FullBatchesLeaveByThemselves) {
  Timing never;
  never.linger = seconds(60);
  ScriptedServer server(Echo());
  ClientSide client(&server, never);
  for (size_t i = 0; i < 2 * limits::kBatchBytes / 16; ++i) client.Post(kFirst);
  EXPECT_TRUE(server.AwaitRecords(kFirst, limits::kBatchBytes / 16));
}

// Batches that were encoded elsewhere are taken away whole and stay between what was posted before and after.
TEST(Connection, BatchesAreTakenAwayInTheirOrder) {
  ScriptedServer server(Echo());
  ClientSide client(&server);
  uint64_t value = 0;
  wire::ByteBuffer batch;
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 3; ++i) client.Post(kFirst, value++);
    for (int i = 0; i < 3000; ++i, ++value) {
      const size_t mark = wire::BeginRecord(&batch, kFirst, 0);
      batch.Append(&value, sizeof(value));
      wire::EndRecord(&batch, mark);
    }
    const uint8_t* const place = batch.data();
    ASSERT_EQ(client.connection.PostBatch(&batch), Connection::Posted::kOk);
    EXPECT_TRUE(batch.empty());
    EXPECT_NE(batch.data(), place);
  }
  EXPECT_EQ(client.Ask(kSecond, 9), 9u);
  const auto records = server.Records(kFirst);
  ASSERT_EQ(records.size(), value);
  for (uint64_t i = 0; i < value; ++i) {
    uint64_t found = 0;
    std::memcpy(&found, records[i].body.data(), sizeof(found));
    ASSERT_EQ(found, i);
  }
}

TEST(Connection, RecordsThatCannotBeEncodedAreTakenBack) {
  ScriptedServer server(Echo());
  ClientSide client(&server);
  EXPECT_EQ(client.connection.Post(kFirst,
                                   [](wire::ByteBuffer* out) {
                                     out->Append("half", 4);
                                     throw std::bad_alloc();
                                   }),
            Connection::Posted::kExhausted);
  EXPECT_EQ(client.Ask(kSecond, 5), 5u);
  EXPECT_TRUE(server.Records(kFirst).empty());
}

TEST(Connection, RepliesMayComeInAnyOrder) {
  std::vector<Received> held;
  ScriptedServer server([&](ScriptedServer& self, const Received& record) {
    held.push_back(record);
    if (held.size() < 8) return;
    for (auto each = held.rbegin(); each != held.rend(); ++each) self.Answer(each->sequence, each->body);
  });
  ClientSide client(&server);
  std::vector<std::thread> threads;
  std::vector<uint64_t> answers(8);
  for (uint64_t i = 0; i < 8; ++i) threads.emplace_back([&, i] { answers[i] = client.Ask(kFirst, 100 + i); });
  for (std::thread& thread : threads) thread.join();
  for (uint64_t i = 0; i < 8; ++i) EXPECT_EQ(answers[i], 100 + i);
}

TEST(Connection, ManyThreadsAskAndEachGetsItsOwnReply) {
  ScriptedServer server(Echo());
  ClientSide client(&server);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; i < 500; ++i) {
        client.Post(kFirst, i);
        if (client.Ask(kSecond, t << 32 | i) != (t << 32 | i)) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(client.round_trips(), 4000u);
  EXPECT_EQ(server.Records(kFirst).size(), 4000u);
}

TEST(Connection, AWaiterLeadsAndSeesWhatWasPushed) {
  ScriptedServer server(Echo());
  ClientSide client(&server);
  std::thread pusher([&] {
    std::this_thread::sleep_for(milliseconds(30));
    server.Complete(1, 1);
  });
  std::unique_lock lane(client.connection.lane());
  EXPECT_EQ(client.connection.WaitFor(
                lane, [&] { return client.handler.events == 1; }, Clock::now() + seconds(5)),
            WaitOutcome::kDone);
  lane.unlock();
  pusher.join();
  EXPECT_EQ(client.statistics.waits, 1u);
  EXPECT_EQ(client.round_trips(), 0u);
}

TEST(Connection, AWaitEndsAtItsDeadlineWhileAnotherThreadLeads) {
  ScriptedServer server(Echo());
  ClientSide client(&server);
  std::atomic<bool> stop{false};
  std::thread leader([&] {
    std::unique_lock lane(client.connection.lane());
    client.connection.WaitFor(
        lane, [&] { return stop.load(); }, Clock::now() + seconds(10));
  });
  std::this_thread::sleep_for(milliseconds(20));
  {
    std::unique_lock lane(client.connection.lane());
    EXPECT_EQ(client.connection.WaitFor(
                  lane, [] { return false; }, Clock::now() + milliseconds(20)),
              WaitOutcome::kTimeout);
  }
  stop = true;
  server.Complete(1, 1);
  leader.join();
}

TEST(Connection, ALeavingLeaderHandsOver) {
  ScriptedServer server([](ScriptedServer& self, const Received& record) {
    if (record.command == kFirst && record.sequence != 0) self.Answer(record.sequence, record.body);
  });
  ClientSide client(&server);
  // The first asks something that is answered at once and leaves; the followers wait for an event that comes later.
  std::vector<std::thread> followers;
  for (int i = 0; i < 4; ++i) {
    followers.emplace_back([&] {
      std::unique_lock lane(client.connection.lane());
      EXPECT_EQ(client.connection.WaitFor(
                    lane, [&] { return client.handler.events == 1; }, Clock::now() + seconds(10)),
                WaitOutcome::kDone);
    });
  }
  for (uint64_t i = 0; i < 100; ++i) EXPECT_EQ(client.Ask(kFirst, i), i);
  server.Complete(1, 1);
  for (std::thread& follower : followers) follower.join();
}

TEST(Connection, PollingSeesEventsWithoutARoundTrip) {
  ScriptedServer server(Echo());
  ClientSide client(&server);
  server.Complete(1, 1);
  const auto end = Clock::now() + seconds(5);
  while (client.handler.events == 0 && Clock::now() < end) {
    std::unique_lock lane(client.connection.lane());
    client.connection.TryPoll(lane);
  }
  EXPECT_EQ(client.handler.events, 1);
  EXPECT_EQ(client.round_trips(), 0u);
  EXPECT_EQ(client.statistics.waits, 0u);
}

TEST(Connection, LossWakesAskersAndWaiters) {
  ScriptedServer server([](ScriptedServer&, const Received&) {});
  ClientSide client(&server);
  std::vector<std::thread> threads;
  std::atomic<int> lost{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      if (client.Ask(kFirst) == ~uint64_t{0}) ++lost;
    });
    threads.emplace_back([&] {
      std::unique_lock lane(client.connection.lane());
      if (client.connection.WaitFor(
              lane, [] { return false; }, Clock::time_point::max()) == WaitOutcome::kLost)
        ++lost;
    });
  }
  ASSERT_TRUE(server.AwaitRecords(kFirst, 4));
  const auto start = Clock::now();
  server.Hang();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(lost, 8);
  EXPECT_LT(Clock::now() - start, seconds(1));
  EXPECT_EQ(client.handler.losses, 1);
  EXPECT_EQ(client.Post(kFirst), Connection::Posted::kLost);
}

// The server answers Goodbye by closing, which the background thread may well see before the connection has ended.
TEST(Connection, AnOrderlyEndIsNoLoss) {
  testing::internal::CaptureStderr();
  for (int round = 0; round < 50; ++round) {
    ScriptedServer server(Echo());
    server.HangUpAfterGoodbye();
    ClientSide client(&server);
    EXPECT_EQ(client.Ask(kFirst, 1), 1u);
    if (round % 2 != 0) std::this_thread::sleep_for(milliseconds(7));  // the background thread reads by then
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(Connection, SilenceBeyondTheGracePeriodIsLoss) {
  Timing quick;
  quick.heartbeat_after = milliseconds(50);
  quick.grace = milliseconds(300);
  ScriptedServer server([](ScriptedServer&, const Received&) {});
  ClientSide client(&server, quick);
  EXPECT_EQ(client.Ask(kFirst), ~uint64_t{0});
  EXPECT_TRUE(client.connection.lost());
  EXPECT_GE(server.Records(static_cast<uint16_t>(wire::Control::kHeartbeat)).size(), 1u);
}

// A peer that reads nothing any more, until the test lets it.
class Gate {
 public:
  ScriptedServer::OnRecord Holding(ScriptedServer::OnRecord then) {
    return [this, then = std::move(then)](ScriptedServer& server, const Received& record) {
      std::unique_lock lock(mutex_);
      opened_.wait(lock, [this] { return open_; });
      lock.unlock();
      then(server, record);
    };
  }
  void Open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    opened_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable opened_;
  bool open_ = false;
};

constexpr size_t kMuch = size_t{8} << 20;  // more than any channel of these tests takes

// As an upload does: asks for room, posts.
bool PostMuch(Connection& connection, size_t bytes = kMuch) {
  std::vector<uint8_t> record(64 * 1024);
  wire::ByteBuffer encoded;
  const size_t mark = wire::BeginRecord(&encoded, kFirst, 0);
  encoded.Append(record.data(), record.size());
  wire::EndRecord(&encoded, mark);
  for (size_t sent = 0; sent < bytes; sent += encoded.size()) {
    if (!connection.AwaitRoom()) return false;
    if (connection.PostRecords({encoded.data(), encoded.size()}) != Connection::Posted::kOk) return false;
  }
  return true;
}

TEST(Connection, APeerThatTakesNothingAnyMoreIsLost) {
  Timing quick;
  quick.heartbeat_after = milliseconds(50);
  quick.grace = milliseconds(300);
  Gate gate;
  ScriptedServer server(gate.Holding(Echo()));
  ClientSide client(&server, quick);
  std::thread uploader([&] { EXPECT_FALSE(PostMuch(client.connection)); });
  EXPECT_EQ(client.Ask(kSecond, 1), ~uint64_t{0});  // whose question is stuck behind
  uploader.join();
  EXPECT_TRUE(client.connection.lost());
  gate.Open();
}

TEST(Connection, AnUploadHoldsUpNobodyElse) {
  Gate gate;
  ScriptedServer server(gate.Holding(Echo()));
  ClientSide client(&server);
  std::thread uploader([&] { EXPECT_TRUE(PostMuch(client.connection)); });
  std::thread asker([&] { EXPECT_EQ(client.Ask(kSecond, 5), 5u); });
  std::this_thread::sleep_for(milliseconds(50));  // both are stuck by now
  EXPECT_EQ(client.Post(kSecond), Connection::Posted::kOk);
  EXPECT_TRUE(client.connection.Flush());
  {
    std::unique_lock lane(client.connection.lane());
    client.connection.TryPoll(lane);
    EXPECT_EQ(client.connection.WaitFor(
                  lane, [] { return false; }, Clock::now() + milliseconds(20)),
              WaitOutcome::kTimeout);
    lane.unlock();
    server.Complete(1, 1);
    lane.lock();
    EXPECT_EQ(client.connection.WaitFor(
                  lane, [&] { return client.handler.events == 1; }, Clock::time_point::max()),
              WaitOutcome::kDone)
        << "what comes is handled whatever is stuck";
  }
  gate.Open();
  uploader.join();
  asker.join();
}

// Room comes through the writer, which the one who waits for it must notice though it reads the channel meanwhile.
TEST(Connection, RoomIsSeenWhoeverReads) {
  Gate gate;
  ScriptedServer server(gate.Holding([](ScriptedServer&, const Received&) {}));
  ClientSide client(&server);
  std::thread uploader([&] { EXPECT_TRUE(PostMuch(client.connection)); });
  std::thread opener([&] {
    std::this_thread::sleep_for(milliseconds(50));
    gate.Open();
  });
  uploader.join();
  opener.join();
  EXPECT_FALSE(client.connection.lost());
}

// Longer than the grace period, without a word from the server: bytes that leave are life.
TEST(Connection, ASlowLineIsNoLoss) {
  Timing quick;
  quick.heartbeat_after = milliseconds(50);
  quick.grace = milliseconds(500);
  ScriptedServer server([](ScriptedServer& self, const Received& record) {
    if (record.command == kFirst) std::this_thread::sleep_for(milliseconds(20));
    if (record.sequence != 0) self.Answer(record.sequence, record.body);
  });
  ClientSide client(&server, quick);
  const auto start = Clock::now();
  EXPECT_TRUE(PostMuch(client.connection));
  EXPECT_EQ(client.Ask(kSecond, 9), 9u);
  EXPECT_GT(Clock::now() - start, 3 * quick.grace);
}

// That records still reach a machine whose server hangs is no life of the server.
TEST(Connection, APeerThatTakesEverythingAndAnswersNothingIsLost) {
  Timing quick;
  quick.heartbeat_after = milliseconds(50);
  quick.grace = milliseconds(300);
  ScriptedServer server([](ScriptedServer&, const Received&) {});
  ClientSide client(&server, quick);
  const auto give_up = Clock::now() + seconds(20);
  while (client.Post(kFirst) == Connection::Posted::kOk && Clock::now() < give_up) {
    client.connection.Flush();
    std::this_thread::sleep_for(milliseconds(5));
  }
  EXPECT_TRUE(client.connection.lost());
}

TEST(Connection, AnsweredHeartbeatsKeepALongWaitAlive) {
  Timing quick;
  quick.heartbeat_after = milliseconds(50);
  quick.grace = milliseconds(600);
  ScriptedServer server(Echo());
  ClientSide client(&server, quick);
  std::unique_lock lane(client.connection.lane());
  EXPECT_EQ(client.connection.WaitFor(
                lane, [] { return false; }, Clock::now() + seconds(2)),
            WaitOutcome::kTimeout);
  lane.unlock();
  EXPECT_FALSE(client.connection.lost());
}

TEST(Connection, MalformedEventsEndTheSession) {
  ScriptedServer server(Echo());
  ClientSide client(&server);
  std::vector<uint8_t> torn(24, 0xff);
  server.SendEvent(wire::EventKind::kCompleted, torn.data(), 3);
  EXPECT_EQ(client.Ask(kFirst, 1), 1u) << "a short body is the handler's to judge";
}

}  // namespace
}  // namespace vesper::client
