// What Vesper counted in this process: the file that VESPER_STATS names, written whenever an
// instance is destroyed and at exit, so that it stays behind in TMPDIR. For programs that run
// through Vesper only.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>

namespace vesper::test {

class StatisticsFile {
 public:
  StatisticsFile()
      : path_(std::filesystem::temp_directory_path() / ("vesper-counts-" + std::to_string(getpid()) + ".json")) {
    unlink(path_.c_str());
    setenv("VESPER_STATS", path_.c_str(), 1);
  }
  StatisticsFile(const StatisticsFile&) = delete;
  StatisticsFile& operator=(const StatisticsFile&) = delete;

  // A total by its name. Counters are the process's: they only grow.
  uint64_t Total(const std::string& name) const { return Number(Text(), 0, name); }
  // One counter of one command: "calls", "round_trips" …; 0 before its first call.
  uint64_t OfCommand(const std::string& command, const std::string& counter) const {
    const std::string json = Text();
    const size_t row = json.find("\"" + command + "\": {");
    return row == std::string::npos ? 0 : Number(json, row, counter);
  }

 private:
  std::string Text() const {
    std::ifstream file(path_);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }
  static uint64_t Number(const std::string& json, size_t from, const std::string& name) {
    const size_t at = json.find("\"" + name + "\": ", from);
    if (at == std::string::npos) throw std::runtime_error("no " + name + " in VESPER_STATS");
    return std::strtoull(json.c_str() + at + name.size() + 4, nullptr, 10);
  }

  const std::string path_;
};

}  // namespace vesper::test
