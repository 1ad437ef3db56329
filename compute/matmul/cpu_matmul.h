// The product on the CPU, vectorised and in several threads.
#pragma once

#include <cstdint>
#include <span>

#include "vesper/compute/matmul.h"

namespace vesper::compute {

// c = a B. `a` is m×k float32 (rounded to float16 where the weights are), `c` m×n. Uses up to
// `threads` threads.
void MultiplyOnCpu(uint32_t m, std::span<const float> a, const Weights& weights, std::span<float> c, uint32_t threads);

}  // namespace vesper::compute
