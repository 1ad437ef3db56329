// The list of a tree made with `codegen --mutants`: faults of the plan that a round trip must notice.
#pragma once

#include <cstddef>
#include <iterator>

namespace vesper::wire {
extern int active_mutant;
}  // namespace vesper::wire

namespace vesper::test {

struct MutantEntry {
  int number;
  const char* owner;  // command or struct
  const char* text;
};
extern const MutantEntry kMutants[];
extern const size_t kMutantCount;

}  // namespace vesper::test
