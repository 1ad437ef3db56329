// What Mesa's driver said (tests/venus/record).
#pragma once

#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace vesper::test {

inline std::vector<uint8_t> Bytes(const std::string& text) {
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes.push_back(static_cast<uint8_t>(std::stoul(text.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

struct Sample {
  uint32_t number = 0;
  std::vector<uint8_t> request, reply;
};

inline std::vector<Sample> Samples() {
  std::ifstream file(VESPER_RECORDED);
  std::vector<Sample> samples;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("#")) continue;
    std::istringstream words(line);
    Sample sample;
    std::string request, reply;
    words >> sample.number >> request >> reply;
    sample.request = Bytes(request);
    sample.reply = Bytes(reply);
    samples.push_back(std::move(sample));
  }
  return samples;
}

}  // namespace vesper::test
