// Protects which commands run when others have ended, in which order, and that many which wait for one are one unit.
#include "server/session/wait_graph.h"

#include <gtest/gtest.h>

namespace vesper::server {
namespace {

using Ids = std::vector<ObjectId>;
using Units = std::vector<WaitGraph::Unit>;

constexpr ObjectId kPool = 1, kOtherPool = 2, kQueue = 3, kPipeline = 10, kOtherPipeline = 11, kBuffer = 20,
                   kCache = 21;

class WaitGraphTest : public testing::Test {
 protected:
  // A slow command that makes `made`.
  WaitGraph::Unit Make(ObjectId made, const Ids& uses = {}) {
    const Ids makes{made};
    WaitingRecord record;
    record.named = record.keys = record.pins = uses;
    record.makes = makes;
    record.slow = true;
    const auto added = graph_.Add(record);
    EXPECT_TRUE(added.ready || !uses.empty());
    return added.unit;
  }
  WaitGraph::Added Record(ObjectId pool, const Ids& uses, const Ids& carries = {}) {
    const Ids keys{pool};
    WaitingRecord record;
    record.named = record.pins = uses;
    record.keys = record.holds = keys;
    record.carries = carries;
    record.joins = true;
    return graph_.Add(record);
  }
  WaitGraph::Added Submit(const Ids& keys) {
    WaitingRecord record;
    record.named = record.keys = record.holds = keys;
    record.inherits = true;
    return graph_.Add(record);
  }
  // After all that use it by now.
  WaitGraph::Added Destroy(ObjectId id) {
    const Ids ids{id};
    WaitingRecord record;
    record.named = record.keys = record.after_users = ids;
    return graph_.Add(record);
  }

  WaitGraph graph_;
};

TEST_F(WaitGraphTest, WhatIsRecordedInOnePoolIsOneUnitAndNotesEachObjectOnce) {
  const auto making = Make(kPipeline);
  const auto first = Record(kPool, {kPipeline, kBuffer});
  EXPECT_FALSE(first.ready);
  EXPECT_EQ(first.holds, Ids{kPool});
  for (int i = 0; i < 1000; ++i) {
    const auto next = Record(kPool, {kPipeline, kBuffer});
    EXPECT_EQ(next.unit, first.unit);
    EXPECT_TRUE(next.pins.empty() && next.holds.empty());
  }
  EXPECT_EQ(first.unit->unmet, 1u);
  EXPECT_EQ(making->followers.size(), 1u) << "an end costs what it makes ready";
  EXPECT_EQ(graph_.size(), 2u);
  EXPECT_EQ(graph_.End(making), Units{first.unit});
  EXPECT_TRUE(graph_.End(first.unit).empty());
  EXPECT_EQ(graph_.size(), 0u);
}

TEST_F(WaitGraphTest, AUnitWaitsForAllThatItsRecordsName) {
  const auto one = Make(kPipeline), other = Make(kOtherPipeline);
  const auto unit = Record(kPool, {kPipeline}).unit;
  EXPECT_EQ(Record(kPool, {kOtherPipeline}).unit, unit);
  EXPECT_TRUE(graph_.End(one).empty());
  EXPECT_EQ(graph_.End(other), Units{unit});
}

TEST_F(WaitGraphTest, PoolsDoNotWaitForEachOther) {
  const auto making = Make(kPipeline), other = Make(kOtherPipeline);
  const auto first = Record(kPool, {kPipeline}).unit, second = Record(kOtherPool, {kOtherPipeline}).unit;
  EXPECT_NE(first, second);
  EXPECT_EQ(graph_.End(other), Units{second});
  EXPECT_EQ(graph_.End(making), Units{first});
}

TEST_F(WaitGraphTest, WhatFollowsASubmitDoesNotJoinWhatPrecedesIt) {
  const auto making = Make(kPipeline);
  const auto before = Record(kPool, {kPipeline}).unit;
  const auto submit = Submit({kQueue, kPool});
  const auto after = Record(kPool, {kPipeline}).unit;
  EXPECT_NE(after, before);
  EXPECT_EQ(graph_.End(making), Units{before}) << "the last waits for the submit";
  EXPECT_EQ(graph_.End(before), Units{submit.unit});
  EXPECT_EQ(graph_.End(submit.unit), Units{after});
}

TEST_F(WaitGraphTest, NothingJoinsAUnitThatMayRun) {
  const auto making = Make(kPipeline);
  const auto running = Record(kPool, {kPipeline}).unit;
  graph_.End(making);
  const auto next = Record(kPool, {});
  EXPECT_NE(next.unit, running);
  EXPECT_FALSE(next.ready);
  EXPECT_EQ(graph_.End(running), Units{next.unit});
}

TEST_F(WaitGraphTest, DestructionsComeAfterThoseWhoUse) {
  const auto making = Make(kPipeline);
  const auto recorded = Record(kPool, {kPipeline, kBuffer}).unit;
  const auto destroyed = Destroy(kBuffer);
  EXPECT_FALSE(destroyed.ready);
  EXPECT_TRUE(Destroy(kCache).ready) << "nobody uses it";
  graph_.End(making);
  EXPECT_EQ(graph_.End(recorded), Units{destroyed.unit});
}

TEST_F(WaitGraphTest, ASubmitUsesTheQueriesOfWhatItSubmits) {
  constexpr ObjectId kQueries = 30;
  const auto making = Make(kPipeline);
  const auto recorded = Record(kPool, {kPipeline, kQueries}, {kQueries}).unit;
  const auto submit = Submit({kQueue, kPool}).unit;
  const auto read = Destroy(kQueries).unit;  // what reads them comes after their users likewise
  graph_.End(making);
  EXPECT_EQ(graph_.End(recorded), Units{submit});
  EXPECT_EQ(graph_.End(submit), Units{read});
}

TEST_F(WaitGraphTest, WhatIsReadyAtOnceRunsInTheOrderOfIssue) {
  const auto making = Make(kPipeline);
  Units expected;
  for (ObjectId pool = 100; pool < 120; ++pool) expected.push_back(Record(pool, {kPipeline}).unit);
  EXPECT_EQ(graph_.End(making), expected);
}

TEST_F(WaitGraphTest, WhatEndedIsWaitedForByNobody) {
  graph_.End(Make(kPipeline, {kCache}));
  EXPECT_TRUE(Record(kPool, {kPipeline}).ready);
  EXPECT_TRUE(Destroy(kCache).ready);
}

}  // namespace
}  // namespace vesper::server
