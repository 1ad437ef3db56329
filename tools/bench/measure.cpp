#include "tools/bench/measure.h"

#include <fnmatch.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <sstream>
#include <stdexcept>

#include "tools/installation.h"

namespace vesper::tools::bench {
namespace {

constexpr int kAnswerMilliseconds = 300'000;  // 64 MiB twice over 10 Mbit/s take half of it
constexpr double kMostBatches = 1e6;

double SecondsOf(const std::string& text) { return std::strtod(text.c_str(), nullptr); }

}  // namespace

std::string Runner::Ask(const std::string& line, const std::string& expected) {
  if (process_ == nullptr) {
    process_ = std::make_unique<Process>(std::vector<std::string>{BinaryFolder() + "/vesper", "bench-rows"},
                                         environment_, std::string());
  }
  const auto answer = process_->Say(line) ? process_->Hear(kAnswerMilliseconds) : std::nullopt;
  if (!answer) {
    process_->Terminate();
    process_.reset();
    throw std::runtime_error("its process ended, or did not answer");
  }
  if (answer->starts_with(expected)) return answer->substr(std::min(answer->size(), expected.size() + 1));
  const size_t word = answer->find(' ');
  throw std::runtime_error(answer->substr(word == std::string::npos ? 0 : word + 1));
}

void Measurement::Run(const std::vector<const Row*>& rows, Report* report,
                      const std::function<void(const Result&)>& done) {
  for (const Row* row : rows) {
    report->results.push_back(RunRow(*row, report));
    done(report->results.back());
  }
}

Result Measurement::RunRow(const Row& row, Report* report) {
  using Clock = std::chrono::steady_clock;
  Result result;
  result.name = row.name;
  result.unit = row.unit;
  std::array<Side, 2> sides = {{{&native_}, {&vesper_}}};
  if (has_native_) {
    sides[0].is_ready = Open(row, &sides[0], &report->native_device, &result);
    // Not having a driver here is no failure of each row.
    if (!sides[0].is_ready && report->native_device.empty() && row.make != nullptr) has_native_ = false;
  }
  sides[1].is_ready = Open(row, &sides[1], &report->vesper_device, &result);
  const auto begin = Clock::now();
  for (int round = 0; round < effort_.rounds; ++round) {
    if (round >= kLeastRounds && std::chrono::duration<double>(Clock::now() - begin).count() > effort_.row_seconds)
      break;
    for (Side& side : sides) {
      if (side.is_ready) side.is_ready = Round(row, &side, &result);
    }
  }
  for (Side& side : sides) {
    if (side.is_ready) Close(&side, &result);
  }
  if (result.vesper) Count(row, report, &result);
  return result;
}

bool Measurement::Open(const Row& row, Side* side, std::string* device, Result* result) {
  try {
    if (const std::string name = side->runner->Ask("open " + row.name, "ok"); !name.empty()) *device = name;
    side->runner->Ask("run 1", "seconds");  // warms up
    if (effort_.round_seconds == 0) return true;
    const double seconds = std::max(SecondsOf(side->runner->Ask("run 1", "seconds")), 1e-9);
    side->batches = static_cast<uint64_t>(std::clamp(std::ceil(effort_.round_seconds / seconds), 1.0, kMostBatches));
    return true;
  } catch (const std::runtime_error& error) {
    return Fail(*side, error, result);
  }
}

bool Measurement::Round(const Row& row, Side* side, Result* result) const {
  try {
    const double seconds = SecondsOf(side->runner->Ask("run " + std::to_string(side->batches), "seconds"));
    side->figures.push_back(FigureOf(row.unit, row.amount * static_cast<double>(side->batches), seconds));
    return true;
  } catch (const std::runtime_error& error) {
    return Fail(*side, error, result);
  }
}

void Measurement::Close(Side* side, Result* result) const {
  try {
    (side->runner == &native_ ? result->native : result->vesper) = Summarize(side->figures);
    side->runner->Ask("close", "ok");
  } catch (const std::runtime_error& error) {
    Fail(*side, error, result);
  }
}

bool Measurement::Fail(const Side& side, const std::runtime_error& error, Result* result) const {
  result->failure += (side.runner == &native_ ? "native: " : "vesper: ") + std::string(error.what()) + ' ';
  return false;
}

void Measurement::Count(const Row& row, Report* report, Result* result) {
  try {
    counting_.Ask("open " + row.name, "ok");
    counting_.Ask("run 1", "seconds");
    std::istringstream words(counting_.Ask("count", "counts"));
    counting_.Ask("close", "ok");
    PerOperation counts;
    words >> counts.trips >> counts.waits >> counts.sent >> counts.received >> report->transport;
    const auto operations = static_cast<double>(row.operations);
    for (double* count : {&counts.trips, &counts.waits, &counts.sent, &counts.received}) *count /= operations;
    result->counts = counts;
  } catch (const std::runtime_error& error) {
    result->failure += std::string("counting: ") + error.what() + ' ';
  }
}

bool Matches(const std::string& name, const std::string& patterns) {
  std::istringstream each(patterns);
  for (std::string pattern; std::getline(each, pattern, '|');) {
    if (fnmatch(pattern.c_str(), name.c_str(), 0) == 0) return true;
  }
  return false;
}

}  // namespace vesper::tools::bench
