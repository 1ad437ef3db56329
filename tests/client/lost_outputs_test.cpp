// A program that lost its session still reads what it asked for: every command that fills something in and can return no error
// writes all of it, zeros and counts of 0. Which those are, and what they write, comes from the registry's tables.
#include <thread>

#include "generated/client/name_table.h"
#include "tests/client/fixture.h"
#include "tests/wire/exchange.h"

namespace vesper::client {
namespace {

// Beside handles, which are the client's own: those of queues are made without asking.
bool HasOutputs(const test::CommandTable& command) {
  for (const test::Member& m : command.args.members) {
    if ((m.is_written && m.what != test::What::kHandle) || m.is_output_chain) return true;
  }
  return false;
}

class LostOutputs : public ClientFixture {
 protected:
  using ClientFixture::ClientFixture;

  // Calls every such command again and again.
  void ExpectAllWritten() {
    size_t called = 0;
    for (size_t c = 0; c < test::kCommandTableCount; ++c) {
      const test::CommandTable& command = *test::kCommandTables[c];
      const NameEntry* name = FindEntryPoint(command.args.name);
      if (command.result_size != 0 || name == nullptr || !HasOutputs(command)) continue;
      void* const target = Target(command);
      ASSERT_NE(target, nullptr) << command.args.name;
      for (uint64_t seed = 0; seed < 40; ++seed) {
        test::Exchange exchange(command, seed, test::Shape{seed % 2 == 0}, true);
        ASSERT_EQ(exchange.Unanswered(target, name->functions.plain), "") << command.args.name << ", seed " << seed;
      }
      ++called;
    }
    EXPECT_GT(called, 30u);
  }

 private:
  // The object of ours that the command is called on, or nullptr.
  void* Target(const test::CommandTable& command) {
    switch (command.args.members[0].handle) {
      case HandleType::kPhysicalDevice:
        return &physical_device_;
      case HandleType::kDevice:
        return &device_;
      case HandleType::kQueue:
        return &queue_;
      default:
        return nullptr;
    }
  }
};

TEST_F(LostOutputs, OfVoidCommandsAreAllWritten) {
  server_.Hang();
  while (!session_.lost()) std::this_thread::yield();
  ExpectAllWritten();
}

// Requirements of a buffer that could not be made, for example.
class InertOutputs : public LostOutputs {
 protected:
  InertOutputs()
      : LostOutputs([](ScriptedServer& server, const Received& record) {
          if (record.sequence != 0) server.AnswerInert(record.sequence);
        }) {}
};

TEST_F(InertOutputs, OfVoidCommandsAreAllWritten) { ExpectAllWritten(); }

}  // namespace
}  // namespace vesper::client
