// What tests of vesper-compute start from: one device for the program, on whatever driver there is.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <vector>

#include "vesper/compute.h"

namespace vesper::compute {

// Options for tests: nothing is kept on disk unless a test is about that.
DeviceOptions TestOptions();

// Made on first use, ended by main, which then wants no validation message to have come.
Device& TestDevice();

std::vector<uint32_t> RandomWords(size_t count, uint32_t seed);
std::vector<float> RandomFloats(size_t count, uint32_t seed);

// Bytes resident, and open file descriptors, of this process.
uint64_t ResidentBytes();
size_t OpenDescriptors();

// Runs `call`, which must throw an Error with `code`, and returns it for a closer look.
Error ExpectError(ErrorCode code, const std::function<void()>& call);

}  // namespace vesper::compute
