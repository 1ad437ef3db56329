// What VESPER_STATS writes.
#include "client/base/statistics.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace vesper::client {
namespace {

TEST(StatisticsTest, ThePageHoldsTheNumbersAndFetchesNothing) {
  const auto statistics = std::make_unique<Statistics>();
  statistics->transport = "ring";
  statistics->round_trips = 7;
  CommandCounters& counters = statistics->commands[static_cast<size_t>(Command::kWaitForFences)];
  counters.calls = 3;
  counters.ns = 4'000'000;
  counters.longest_ns = 2'500'000;
  const auto sum = std::make_unique<Statistics>();
  sum->Add(*statistics);
  const std::string json = ToJson(*sum);
  EXPECT_NE(
      json.find("\"vkWaitForFences\": {\"calls\": 3, \"round_trips\": 0, \"bytes_sent\": 0, \"bytes_received\": 0, "
                "\"stalled_ns\": 0, \"ns\": 4000000, \"longest_ns\": 2500000}"),
      json.npos)
      << json;
  const std::string page = ToPage(*sum);
  EXPECT_NE(page.find("<script type=\"application/json\" id=\"statistics\">" + json + "</script>"), page.npos);
  for (const char* fetches : {"http:", "https:", "src=", "@import", "url("}) {
    EXPECT_EQ(page.find(fetches), page.npos) << fetches;
  }
  EXPECT_TRUE(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
  EXPECT_NE(ToTable(*sum).find("4.000        2.500"), std::string::npos) << ToTable(*sum);
}

}  // namespace
}  // namespace vesper::client
