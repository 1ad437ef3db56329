// What a session's commands cost the thread that takes them, and which of that the client does not know yet: it bounds by it how
// far it runs ahead (client/connection/lead.h).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "runtime/wire/control.h"

namespace vesper::server {

// Called by the session's thread alone. The clock is read when the kind of command changes, not for each.
class Meter {
 public:
  using Clock = std::chrono::steady_clock;

  // A record begins. `kind` is the client's number of the command, kMemoryWrite, or wire::kRecordings for what is recorded into a
  // command buffer; `bytes` its size, which counts for the latter two.
  void Begin(uint16_t kind, size_t bytes) {
    if (!running_ || kind != kind_) Switch(kind);
    units_ += 1;
    bytes_ += bytes;
  }
  // So many bytes more, of what began last.
  void Add(size_t bytes) { bytes_ += bytes; }
  // The row of records has ended: what follows is waiting.
  void Stop() {
    if (running_) Close(Clock::now());
    running_ = false;
  }

  // The costs that have changed by more than a quarter since they were taken, at most limits::kMaxCostsAtOnce.
  std::span<const wire::CommandCost> TakeChanged();

 private:
  struct Cost {
    double ns = 0;
    uint32_t told = 0;  // 0: never
    bool noted = false;
  };
  void Switch(uint16_t kind);
  void Close(Clock::time_point now);

  bool running_ = false;
  uint16_t kind_ = 0;
  uint64_t units_ = 0;
  uint64_t bytes_ = 0;
  Clock::time_point since_;
  std::unordered_map<uint16_t, Cost> costs_;
  std::vector<uint16_t> changed_;
  std::vector<wire::CommandCost> taken_;
};

}  // namespace vesper::server
