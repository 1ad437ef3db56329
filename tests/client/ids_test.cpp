// Protects: an id never names two objects, and states are found by live ids alone.
#include "client/base/ids.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>
#include <vector>

namespace vesper::client {
namespace {

constexpr auto kType = static_cast<HandleType>(7);

TEST(Ids, NoIdIsEverMintedTwice) {
  Ids ids;
  std::set<uint64_t> seen;
  std::vector<uint64_t> batch(100);
  for (int round = 0; round < 50; ++round) {
    ASSERT_TRUE(ids.Mint(kType, batch));
    for (const uint64_t id : batch) {
      EXPECT_TRUE(seen.insert(id).second);
      EXPECT_EQ(TypeOf(id), kType);
      EXPECT_NE(SlotOf(id), 0u);
      EXPECT_NE(GenerationOf(id), 0u);
      ids.Forget(id);
    }
  }
  for (const uint64_t id : seen) EXPECT_LE(SlotOf(id), 100u) << "forgotten slots are used again";
}

TEST(Ids, SlotsWhoseGenerationsRanOutAreRetired) {
  Ids ids(/*max_slots=*/2, /*max_generation=*/3);
  std::set<uint64_t> seen;
  uint64_t id = 0;
  while (ids.Mint(kType, {&id, 1})) {
    ASSERT_TRUE(seen.insert(id).second);
    ids.Forget(id);
  }
  EXPECT_EQ(seen.size(), 6u) << "two slots of three generations each";
}

TEST(Ids, ForgettingTwiceOrWhatIsStaleChangesNothing) {
  Ids ids;
  uint64_t first = 0;
  ASSERT_TRUE(ids.Mint(kType, {&first, 1}));
  ids.Forget(first);
  uint64_t second = 0;
  ASSERT_TRUE(ids.Mint(kType, {&second, 1}));
  ids.Forget(first);
  ids.Forget(first);
  ids.Forget(0);
  ids.Forget(MakeObjectId(kType, 1, 12345));
  uint64_t third = 0;
  ASSERT_TRUE(ids.Mint(kType, {&third, 1}));
  EXPECT_NE(SlotOf(second), SlotOf(third));
}

TEST(Ids, ExhaustionMintsNothing) {
  Ids ids(/*max_slots=*/10, kMaxGeneration);
  std::vector<uint64_t> many(11);
  EXPECT_FALSE(ids.Mint(kType, many));
  std::vector<uint64_t> all(10);
  EXPECT_TRUE(ids.Mint(kType, all));
}

TEST(Ids, ThreadsMintDisjointIds) {
  Ids ids;
  std::vector<std::vector<uint64_t>> minted(4, std::vector<uint64_t>(2000));
  std::vector<std::thread> threads;
  for (auto& mine : minted) {
    threads.emplace_back([&] {
      for (uint64_t& id : mine) ids.Mint(kType, {&id, 1});
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<uint64_t> all;
  for (const auto& mine : minted) all.insert(mine.begin(), mine.end());
  EXPECT_EQ(all.size(), 8000u);
}

struct Counted : ObjectState {
  Counted(ObjectId id, int* live) : ObjectState(id), live_(live) { ++*live_; }
  ~Counted() override { --*live_; }
  int* live_;
};

TEST(States, FindsLiveObjectsAndDeletesTheRest) {
  int live = 0;
  {
    States states;
    const ObjectId id = MakeObjectId(kType, 1, 5000);
    ASSERT_TRUE(states.Add(new Counted(id, &live)));
    ASSERT_TRUE(states.Add(new Counted(MakeObjectId(kType, 1, 1), &live)));
    EXPECT_NE(states.Find(id), nullptr);
    EXPECT_EQ(states.Find(MakeObjectId(kType, 2, 5000)), nullptr) << "another generation";
    EXPECT_EQ(states.Find(0), nullptr);
    EXPECT_EQ(states.Find(~uint64_t{0}), nullptr);
    delete states.Remove(id);
    EXPECT_EQ(states.Find(id), nullptr);
    EXPECT_EQ(states.Remove(id), nullptr);
    EXPECT_EQ(live, 1);
  }
  EXPECT_EQ(live, 0);
}

}  // namespace
}  // namespace vesper::client
