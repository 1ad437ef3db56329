#include "tools/bench/worker.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <sstream>

#include "tools/bench/counted.h"
#include "tools/bench/gpu.h"
#include "tools/bench/rows.h"

namespace vesper::tools::bench {
namespace {

struct Counts {
  uint64_t trips = 0, waits = 0, sent = 0, received = 0;
  std::string transport;
};

// The client writes them whenever an instance goes, so one comes and goes.
Counts Look() {
  vkDestroyInstance(StartInstance(), nullptr);
  const Counted counted = Counted::Read();
  return {counted.Number("round_trips"), counted.Number("waits"), counted.Number("bytes_sent"),
          counted.Number("bytes_received"), counted.Text("transport")};
}

class Worker {
 public:
  // The answer to a line.
  std::string Do(const std::string& line) {
    try {
      std::istringstream words(line);
      std::string verb;
      words >> verb;
      if (verb == "open") return Open(words);
      if (verb == "run" && work_ != nullptr) return Run(words);
      if (verb == "count" && work_ != nullptr) return Count();
      Close();
      return verb == "close" ? "ok" : "failed cannot " + line;
    } catch (const std::exception& error) {
      const std::string why = error.what();
      Close();
      gpu_.reset();
      return "failed " + why;
    }
  }

 private:
  std::string Open(std::istringstream& words) {
    Close();
    std::string name;
    words >> name;
    for (const Row& row : AllRows()) {
      if (row.name != name) continue;
      holds_queue_ = row.holds_queue;
      // The device stays from row to row, but not beside a row that begins with an instance of its own.
      if (row.make_alone != nullptr) {
        gpu_.reset();
        work_ = row.make_alone();
        return "ok";
      }
      if (!gpu_) gpu_.emplace();
      work_ = row.make(*gpu_);
      return "ok " + gpu_->Name();
    }
    return "failed there is no such row";
  }

  std::string Run(std::istringstream& words) {
    uint64_t batches = 1;
    words >> batches;
    char text[64];
    std::snprintf(text, sizeof(text), "seconds %.9g", work_->Run(batches));
    return text;
  }

  // A look costs messages itself, as does the drain before it; both are taken off.
  std::string Count() {
    work_->Prepare();
    const Counts before = Settle();
    const Counts nothing = Settle();
    Stopwatch watch;
    work_->Batch(&watch);
    const Counts after = Settle();
    work_->Verify(true);
    const auto between = [&](uint64_t Counts::*counter) {
      const uint64_t look = nothing.*counter - before.*counter, all = after.*counter - nothing.*counter;
      return std::to_string(all > look ? all - look : 0) + ' ';
    };
    return "counts " + between(&Counts::trips) + between(&Counts::waits) + between(&Counts::sent) +
           between(&Counts::received) + after.transport;
  }

  Counts Settle() const {
    if (gpu_ && !holds_queue_) gpu_->Drain();
    return Look();
  }

  void Close() { work_.reset(); }

  std::optional<Gpu> gpu_;
  std::unique_ptr<Work> work_;  // goes first
  bool holds_queue_ = false;    // of its row
};

}  // namespace

int Serve() {
  // Drivers print: their words must not stand among ours.
  std::FILE* answers = fdopen(dup(STDOUT_FILENO), "w");
  if (answers == nullptr || dup2(STDERR_FILENO, STDOUT_FILENO) < 0) return 1;
  std::string failure;
  try {
    OpenLoader();
  } catch (const std::exception& error) {
    failure = std::string("failed ") + error.what();
  }
  Worker worker;
  for (std::string line; std::getline(std::cin, line);) {
    std::fprintf(answers, "%s\n", failure.empty() ? worker.Do(line).c_str() : failure.c_str());
    std::fflush(answers);
  }
  return 0;
}

}  // namespace vesper::tools::bench
