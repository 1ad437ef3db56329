// A row that does one thing again and again: a lambda that owns what it needs.
#pragma once

#include "tools/bench/gpu.h"
#include "tools/bench/rows.h"

namespace vesper::tools::bench {

template <typename Call>
class Calls final : public Work {
 public:
  // `drained`: the batch ends when the server has executed it, too. Otherwise only then begins the next.
  Calls(const Gpu& gpu, uint64_t calls, bool waits, bool drained, Call call)
      : gpu_(gpu), calls_(calls), waits_(waits), drained_(drained), call_(std::move(call)) {}

  void Batch(Stopwatch* watch) override {
    watch->Start();
    for (uint64_t i = 0; i < calls_; ++i) call_();
    if (!drained_) watch->Stop();
    if (waits_) gpu_.Drain();
    if (drained_) watch->Stop();
  }

 private:
  const Gpu& gpu_;
  const uint64_t calls_;
  const bool waits_, drained_;
  Call call_;
};

// A row of `calls` calls a batch of what `begin(gpu)` returns.
template <typename Begin>
Row CallsRow(std::string name, Unit unit, uint64_t calls, Begin begin) {
  const auto make = [=](Gpu& gpu) -> std::unique_ptr<Work> {
    auto call = begin(gpu);
    return std::make_unique<Calls<decltype(call)>>(gpu, calls, false, false, std::move(call));
  };
  return {std::move(name), unit, static_cast<double>(calls), calls, make};
}

// Two rows: the program's own time, and the time until the server has done it, too. Each call is `each` operations.
template <typename Begin>
void AddBothWays(std::vector<Row>& rows, const std::string& name, Unit unit, uint64_t calls, uint64_t each,
                 Begin begin) {
  for (const bool drained : {false, true}) {
    const auto make = [=](Gpu& gpu) -> std::unique_ptr<Work> {
      auto call = begin(gpu);
      return std::make_unique<Calls<decltype(call)>>(gpu, calls, true, drained, std::move(call));
    };
    const uint64_t operations = calls * each;
    rows.push_back({drained ? name + "_drained" : name, unit, static_cast<double>(operations), operations, make});
  }
}

}  // namespace vesper::tools::bench
