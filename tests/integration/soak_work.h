// What the clients of long tests do.
#pragma once

#include <random>

namespace vesper::test {

// With one instance: dispatches, copies and fills whose results are known. Throws std::logic_error for a wrong result, and for what
// fails what VK_CHECK does.
void WorkOnce(std::mt19937* random);

}  // namespace vesper::test
