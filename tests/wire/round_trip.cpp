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
// encoded all the same; and what is read was read in some.
TEST(Coverage, EveryConditionOfAMemberHoldsAndFails) {
  Filler::Visited reachable;
  std::set<const Member*> ignored, read;
  uint64_t seed = 0;
  for (size_t c = 0; c < kCommandTableCount; ++c) {
    const CommandTable& command = *kCommandTables[c];
    Reach(command.args, Role::kIn, &reachable);
    for (const Shape& shape : Shapes(command)) {
      Exchange exchange(command, 5000 + ++seed, shape, false);
      exchange.Encode();
      ignored.insert(exchange.filler().ignored().begin(), exchange.filler().ignored().end());
      read.insert(exchange.filler().read().begin(), exchange.filler().read().end());
    }
  }
  for (const auto& [each, role] : reachable) {
    for (const Member& m : each->members) {
      if (m.read_if == nullptr || role == Role::kOut) continue;
      EXPECT_TRUE(read.contains(&m)) << each->name << "." << m.name << " was never read";
      if (std::string_view(m.name) == "pInheritanceInfo" || std::string_view(m.name) == "pClearValues") continue;
      EXPECT_TRUE(ignored.contains(&m)) << each->name << "." << m.name << " was never ignored";
    }
  }
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
