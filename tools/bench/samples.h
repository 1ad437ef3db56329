// Medians.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace vesper::tools::bench {

struct Summary {
  double median = 0, least = 0, most = 0;
  size_t count = 0;
};

// Of two in the middle, what lies between them. All zero without samples.
inline Summary Summarize(std::vector<double> samples) {
  if (samples.empty()) return {};
  std::sort(samples.begin(), samples.end());
  const size_t half = samples.size() / 2;
  const double median = samples.size() % 2 != 0 ? samples[half] : (samples[half - 1] + samples[half]) / 2;
  return {median, samples.front(), samples.back(), samples.size()};
}

}  // namespace vesper::tools::bench
