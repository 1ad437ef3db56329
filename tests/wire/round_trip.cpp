// Every command that travels: random valid arguments arrive as they were sent, random results come back as they were given.
// Registered by table, so that `ctest -R round_trip.vkCreateBuffer` runs RoundTrip, Truncation and Flips of one command.
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <string_view>

#include "tests/wire/exchange.h"

namespace vesper::test {
namespace {

constexpr size_t kRandomIterations = 60;

using Body = void (*)(const CommandTable&);

class CommandTest : public testing::Test {
 public:
  CommandTest(Body body, const CommandTable* command) : body_(body), command_(command) {}
  void TestBody() override { body_(*command_); }

 private:
  Body body_;
  const CommandTable* command_;
};

void Register(const char* suite, Body body) {
  for (size_t i = 0; i < kCommandTableCount; ++i) {
    const CommandTable* command = kCommandTables[i];
    testing::RegisterTest(suite, command->args.name, nullptr, nullptr, __FILE__, __LINE__,
                          [=]() -> testing::Test* { return new CommandTest(body, command); });
  }
}

}  // namespace

void TestRoundTrip(const CommandTable& command) { EXPECT_EQ(RoundTrip(command), "") << command.args.name; }

// What a condition of the policy says is ignored was a pointer into a page that faults, or garbage, in some round trip that was
// encoded all the same; and what is read was read in some. A condition that seldom holds may take several rounds.
TEST(Coverage, EveryConditionOfAMemberHoldsAndFails) {
  constexpr int kRounds = 8;
  Filler::Visited reachable;
  for (size_t c = 0; c < kCommandTableCount; ++c) Reach(kCommandTables[c]->args, Role::kIn, &reachable);
  std::set<const Member*> ignored, read;
  uint64_t seed = 5000;
  std::vector<std::string> missing{""};
  for (int round = 0; round < kRounds && !missing.empty(); ++round) {
    for (size_t c = 0; c < kCommandTableCount; ++c) {
      const CommandTable& command = *kCommandTables[c];
      for (const Shape& shape : Shapes(command)) {
        Exchange exchange(command, ++seed, shape, false);
        exchange.Encode();
        ignored.insert(exchange.filler().ignored().begin(), exchange.filler().ignored().end());
        read.insert(exchange.filler().read().begin(), exchange.filler().read().end());
      }
    }
    missing.clear();
    for (const auto& [each, role] : reachable) {
      for (const Member& m : each->members) {
        if (m.read_if == nullptr || role == Role::kOut) continue;
        const std::string name = std::string(each->name) + "." + m.name;
        if (!read.contains(&m)) missing.push_back(name + " was never read");
        if (std::string_view(m.name) == "pInheritanceInfo" || std::string_view(m.name) == "pClearValues") continue;
        if (!ignored.contains(&m)) missing.push_back(name + " was never ignored");
      }
    }
  }
  for (const std::string& what : missing) ADD_FAILURE() << what;
}

// The round trips visit everything that the registry lets these commands reach, and that is what the generator says
// travels.
TEST(Coverage, EveryStructThatTravelsIsVisitedInEveryRole) {
  Filler::Visited reachable, visited;
  std::set<const Member*> arms;
  for (size_t c = 0; c < kCommandTableCount; ++c) {
    const CommandTable& command = *kCommandTables[c];
    Reach(command.args, Role::kIn, &reachable);
    const size_t chains = LongestChain(command);
    for (size_t i = 0; i < chains + kRandomIterations; ++i) {
      const Shape shape = i < chains ? Shape{true, i} : Shape{i % 2 == 0, Shape::kAnyChain};
      Exchange exchange(command, 1000 + i, shape, false);
      visited.insert(exchange.filler().visited().begin(), exchange.filler().visited().end());
      arms.insert(exchange.filler().arms().begin(), exchange.filler().arms().end());
    }
  }
  std::set<std::string> names;
  for (const auto& [each, role] : reachable) {
    EXPECT_TRUE(visited.contains({each, role})) << each->name << (role == Role::kIn ? " as input" : " as output");
    if (each->is_union) {
      for (const Member& arm : each->members) EXPECT_TRUE(arms.contains(&arm)) << each->name << "." << arm.name;
    }
    names.insert(each->name);
  }
  const std::set<std::string> planned(kTravellingStructs, kTravellingStructs + kTravellingStructCount);
  EXPECT_EQ(names, planned);
}

}  // namespace vesper::test

int main(int argc, char** argv) {
  vesper::test::Register("RoundTrip", vesper::test::TestRoundTrip);
  vesper::test::Register("Truncation", vesper::test::TestTruncation);
  vesper::test::Register("Flips", vesper::test::TestFlips);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
