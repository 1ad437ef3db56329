// What `vesper bench` says of what it found.
#include <gtest/gtest.h>

#include <set>

#include "tools/bench/measure.h"
#include "tools/bench/random.h"
#include "tools/bench/report.h"
#include "tools/bench/rows.h"
#include "tools/bench/samples.h"

namespace vesper::tools::bench {
namespace {

Summary Exactly(double value) { return {value, value, value, 1}; }

Report TwoRows() {
  Report report;
  report.transport = "ring";
  report.native_device = report.vesper_device = "a \"GPU\"";
  report.wake_us = 5;
  report.socket = BareSocket{900, 30};
  Result time = {.name = "sync.x", .unit = Unit::kMicroseconds, .native = Exactly(2), .vesper = Exactly(6)};
  time.counts = PerOperation{1, 0.5, 100, 20};
  const Result rate = {.name = "mem.<y>", .unit = Unit::kMegabytes, .native = Exactly(1000), .vesper = Exactly(500)};
  Result failed = {.name = "z", .unit = Unit::kFrames, .native = Exactly(1)};
  failed.failure = "wrong";
  report.results = {time, rate, failed};
  return report;
}

TEST(SamplesTest, AMedianIsInTheMiddle) {
  EXPECT_EQ(Summarize({}).count, 0u);
  EXPECT_EQ(Summarize({7}).median, 7);
  EXPECT_EQ(Summarize({9, 1, 2}).median, 2);
  const Summary four = Summarize({4, 100, 1, 2});
  EXPECT_EQ(four.median, 3);
  EXPECT_EQ(four.least, 1);
  EXPECT_EQ(four.most, 100);
  EXPECT_EQ(four.count, 4u);
}

TEST(UnitTest, TimesShrinkAndRatesGrow) {
  EXPECT_DOUBLE_EQ(FigureOf(Unit::kMilliseconds, 1, 0.25), 250);
  EXPECT_DOUBLE_EQ(FigureOf(Unit::kNanoseconds, 1000, 1e-6), 1);
  EXPECT_DOUBLE_EQ(FigureOf(Unit::kMegabytes, 4e6, 2), 2);
  EXPECT_DOUBLE_EQ(FigureOf(Unit::kMillions, 4e6, 2), 2);
  EXPECT_DOUBLE_EQ(FigureOf(Unit::kFrames, 30, 0.5), 60);
}

TEST(RowsTest, EachHasANameOfItsOwn) {
  std::set<std::string> names;
  for (const Row& row : AllRows()) {
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_NE(row.make == nullptr, row.make_alone == nullptr) << row.name;
    EXPECT_GE(row.operations, 1u) << row.name;
  }
  for (const char* name :
       {"startup.warm", "props.repeat", "sync.fence_pending", "churn.alloc_map_16m_drained", "rec.threads_2",
        "submit.pipelined_1000", "mem.sparse_64m", "matmul.512", "frame.draw1000_readback"}) {
    EXPECT_TRUE(names.contains(name)) << name;
  }
}

TEST(RowsTest, AreChosenByPatterns) {
  EXPECT_TRUE(Matches("sync.x", "*"));
  EXPECT_TRUE(Matches("sync.x", "mem.*|sync.?"));
  EXPECT_FALSE(Matches("sync.xy", "mem.*|sync.?"));
  EXPECT_FALSE(Matches("sync.x", ""));
}

TEST(ReportTest, ALineOfTheTable) {
  const Report report = TwoRows();
  EXPECT_NE(TableLine(report.results[0]).find("2.00       6.00     3.00     1.00    0.500         100        20.0"),
            std::string::npos)
      << TableLine(report.results[0]);
  EXPECT_NE(TableLine(report.results[1]).find("1000        500    0.500\n"), std::string::npos)
      << TableLine(report.results[1]);
  EXPECT_NE(TableLine(report.results[2]).find("-        -  FAILED: wrong\n"), std::string::npos)
      << TableLine(report.results[2]);
}

TEST(ReportTest, Json) {
  EXPECT_EQ(ToJson({TwoRows()}), R"({
  "runs": [
    {"delay_ms": 0, "rate_mbit": 0, "transport": "ring", "native_device": "a \"GPU\"", "vesper_device": "a \"GPU\"", "wake_us": 5, "bare_socket": {"megabytes_per_second": 900, "trip_us": 30},
     "rows": [
      {"name": "sync.x", "unit": "us", "better": "less",
       "native": {"median": 2, "least": 2, "most": 2, "rounds": 1},
       "vesper": {"median": 6, "least": 6, "most": 6, "rounds": 1},
       "ratio": 3, "per_operation": {"round_trips": 1, "waits": 0.5, "bytes_sent": 100, "bytes_received": 20}, "failure": null},
      {"name": "mem.<y>", "unit": "MB/s", "better": "more",
       "native": {"median": 1000, "least": 1000, "most": 1000, "rounds": 1},
       "vesper": {"median": 500, "least": 500, "most": 500, "rounds": 1},
       "ratio": 0.5, "per_operation": null, "failure": null},
      {"name": "z", "unit": "frames/s", "better": "more",
       "native": {"median": 1, "least": 1, "most": 1, "rounds": 1},
       "vesper": null,
       "ratio": null, "per_operation": null, "failure": "wrong"}]}]
}
)");
}

TEST(ReportTest, ADrawingHasADotForEachRowThatRan) {
  const std::string drawing = ToSvg({TwoRows(), TwoRows()});
  size_t dots = 0;
  for (size_t at = drawing.find("<circle"); at != std::string::npos; at = drawing.find("<circle", at + 1)) ++dots;
  EXPECT_EQ(dots, 2 * 2 + 2u);  // and two of the legend
  EXPECT_NE(drawing.find("mem.&lt;y>"), std::string::npos);
  // Half the rate is twice the time: the first row's three times are further right.
  EXPECT_NE(drawing.find("as the driver"), std::string::npos);
}

TEST(ReportTest, AMatrixHasAColumnForEachLine) {
  Report slow = TwoRows();
  slow.line = {20, 100};
  slow.results[0].vesper = Exactly(20000);
  const std::string table = MatrixTable({TwoRows(), slow});
  EXPECT_NE(table.find("0 ms, no limit  20 ms, 100 Mbit/s"), std::string::npos) << table;
  EXPECT_NE(table.find("2.00               6.00              20000\n"), std::string::npos) << table;
}

// A sum that missed words which change places, or a bit, would find nothing.
TEST(RandomTest, TheSumKnowsItsWords) {
  Random random;
  std::vector<uint32_t> words(1000);
  random.Fill(words);
  const uint32_t sum = SumOf(words);
  std::vector<uint32_t> others = words;
  others[999] ^= 0x80000000;
  EXPECT_NE(SumOf(others), sum);
  others = words;
  others[3] = ~words[4];
  std::swap(others[3], others[4]);
  EXPECT_NE(SumOf(others), sum);
  EXPECT_EQ(SumOf(words), sum);
}

}  // namespace
}  // namespace vesper::tools::bench
