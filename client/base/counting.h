// Entry points that count that they were called and how long it took, for VESPER_STATS: commands which the client answers by itself among
// them. Given to the application only when it asked for statistics; others pay nothing.
#pragma once

#include <vulkan/vulkan.h>

#include <chrono>

#include "client/base/statistics.h"

namespace vesper::client {

// Counts one call of an entry point, and how long it took.
class Stopwatch {
 public:
  explicit Stopwatch(Command command) : command_(command) { CountEntry(command); }
  ~Stopwatch() { TimeEntry(command_, static_cast<uint64_t>((Now() - begin_).count())); }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  static std::chrono::nanoseconds Now() { return std::chrono::steady_clock::now().time_since_epoch(); }
  const Command command_;
  const std::chrono::nanoseconds begin_ = Now();
};

template <auto function, Command command>
struct Counting;

template <typename R, typename... Arguments, R(VKAPI_PTR* function)(Arguments...), Command command>
struct Counting<function, command> {
  static VKAPI_ATTR R VKAPI_CALL Call(Arguments... arguments) {
    const Stopwatch stopwatch(command);
    return function(arguments...);
  }
};

}  // namespace vesper::client
