// Runs rows natively and through a server in turn, so that a machine whose speed drifts is as fast for both.
#pragma once

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "tools/bench/process.h"
#include "tools/bench/report.h"
#include "tools/bench/rows.h"

namespace vesper::tools::bench {

struct Effort {
  int rounds = 9;
  double round_seconds = 0.02;  // as many batches as fit, one at least
  double row_seconds = 3;       // of both sides together; then there are no more rounds than kLeastRounds
};
inline constexpr int kLeastRounds = 3;
inline constexpr Effort kQuick = {kLeastRounds, 0, 0};

// A process of worker.cpp, begun when it is needed, again after it has failed.
class Runner {
 public:
  explicit Runner(Environment environment) : environment_(std::move(environment)) {}

  // What it answers to `line`, but for the word in front, which is `expected`; throws std::runtime_error with why not.
  std::string Ask(const std::string& line, const std::string& expected);

 private:
  const Environment environment_;
  std::unique_ptr<Process> process_;
};

class Measurement {
 public:
  // `counting` runs as `vesper` does, with the client's statistics switched on.
  Measurement(Environment native, Environment vesper, Environment counting, const Effort& effort)
      : native_(std::move(native)), vesper_(std::move(vesper)), counting_(std::move(counting)), effort_(effort) {}

  // Fills in all of `report` that rows tell; `done` hears of each row.
  void Run(const std::vector<const Row*>& rows, Report* report, const std::function<void(const Result&)>& done);

 private:
  struct Side {
    Runner* runner;
    bool is_ready = false;
    uint64_t batches = 1;
    std::vector<double> figures = {};
  };

  Result RunRow(const Row& row, Report* report);
  // The name of the device that it opened on goes to `device`; false with a sentence in the result's failure.
  bool Open(const Row& row, Side* side, std::string* device, Result* result);
  bool Round(const Row& row, Side* side, Result* result) const;
  void Close(Side* side, Result* result) const;
  bool Fail(const Side& side, const std::runtime_error& error, Result* result) const;  // false
  void Count(const Row& row, Report* report, Result* result);

  Runner native_, vesper_, counting_;
  const Effort effort_;
  bool has_native_ = true;
};

// "a.*|b": shell patterns between bars.
bool Matches(const std::string& name, const std::string& patterns);

}  // namespace vesper::tools::bench
