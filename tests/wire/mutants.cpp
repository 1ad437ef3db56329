// Tests the round trips: each fault of a sampled list is switched on in the codecs, and a round trip of some command that
// reaches its struct must notice, by a difference or by a crash. Prints the survivors; exits with 1 when there are any.
#include "tests/wire/mutants.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "tests/wire/exchange.h"

namespace vesper::test {
namespace {

constexpr unsigned kSeconds = 20;  // a fault may make a codec run forever

bool Reaches(const CommandTable& command, std::string_view owner) {
  if (owner.empty() || owner == command.args.name) return true;
  Filler::Visited found;
  Reach(command.args, Role::kIn, &found);
  for (const auto& [each, role] : found) {
    if (owner == each->name) return true;
  }
  return false;
}

// In a child of its own: whether a round trip notices the fault.
bool IsCaught(const MutantEntry& mutant, int* commands) {
  *commands = 0;
  for (size_t i = 0; i < kCommandTableCount; ++i) *commands += Reaches(*kCommandTables[i], mutant.owner) ? 1 : 0;
  const pid_t child = fork();
  if (child < 0) std::abort();
  if (child == 0) {
    alarm(kSeconds);
    wire::active_mutant = mutant.number;
    for (size_t i = 0; i < kCommandTableCount; ++i) {
      if (Reaches(*kCommandTables[i], mutant.owner) && !RoundTrip(*kCommandTables[i]).empty()) _exit(1);
    }
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int Run() {
  int commands = 0;
  const MutantEntry none{0, "", ""};
  if (IsCaught(none, &commands)) return std::printf("the codecs are wrong without any fault\n"), 1;
  size_t caught = 0;
  for (size_t i = 0; i < kMutantCount; ++i) {
    const MutantEntry& mutant = kMutants[i];
    if (IsCaught(mutant, &commands)) {
      ++caught;
    } else {
      std::printf("not noticed by %d commands: %d. %s.%s\n", commands, mutant.number, mutant.owner, mutant.text);
    }
  }
  std::printf("%zu of %zu faults noticed\n", caught, kMutantCount);
  return caught == kMutantCount ? 0 : 1;
}

}  // namespace
}  // namespace vesper::test

int main() { return vesper::test::Run(); }
