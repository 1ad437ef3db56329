// Inputs that are a row of records: a mutator that keeps their framing whole most of the time.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vesper::test {

// What LLVMFuzzerCustomMutator and LLVMFuzzerCustomCrossOver return, for such inputs. `commands`: how many ids there are.
size_t MutateRecords(uint8_t* data, size_t size, size_t max_size, unsigned seed);
size_t CrossRecords(const uint8_t* first, size_t first_size, const uint8_t* second, size_t second_size, uint8_t* out,
                    size_t max_size, unsigned seed);

}  // namespace vesper::test
