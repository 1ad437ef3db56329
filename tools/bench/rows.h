// The rows of `vesper bench`: what is measured, natively and through Vesper alike.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tools/bench/unit.h"

namespace vesper::tools::bench {

class Gpu;

// Adds up what lies between Start() and Stop().
class Stopwatch {
 public:
  void Start() { begin_ = std::chrono::steady_clock::now(); }
  void Stop() { spent_ += std::chrono::steady_clock::now() - begin_; }
  double seconds() const { return std::chrono::duration<double>(spent_).count(); }

 private:
  std::chrono::steady_clock::time_point begin_;
  std::chrono::steady_clock::duration spent_{};
};

// One row at work, batch after batch.
class Work {
 public:
  virtual ~Work() = default;
  virtual void Prepare() {}  // new data
  virtual void Batch(Stopwatch* watch) = 0;
  // Throws std::runtime_error where data are wrong that were moved; may leave all but the `last` of a run's batches.
  virtual void Verify([[maybe_unused]] bool last) {}

  // How many seconds of all batches count.
  double Run(uint64_t batches);
};

struct Row {
  std::string name;
  Unit unit;
  double amount;        // of what the unit counts, in a batch
  uint64_t operations;  // in a batch, which round trips and bytes are divided by
  // With a device, or with instances and devices of its own. One of them.
  std::function<std::unique_ptr<Work>(Gpu&)> make;
  std::function<std::unique_ptr<Work>()> make_alone = {};
  bool holds_queue = false;  // nothing else that is submitted would end
};

const std::vector<Row>& AllRows();

// Of each file rows_*.cpp.
void AddStartupRows(std::vector<Row>& rows);
void AddSyncRows(std::vector<Row>& rows);
void AddChurnRows(std::vector<Row>& rows);
void AddRecordRows(std::vector<Row>& rows);
void AddSubmitRows(std::vector<Row>& rows);
void AddMemoryRows(std::vector<Row>& rows);
void AddProductRows(std::vector<Row>& rows);
void AddFrameRows(std::vector<Row>& rows);

}  // namespace vesper::tools::bench
