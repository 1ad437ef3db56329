// What this machine needs to wake a thread that sleeps on another processor: no answer of another process can come sooner.
#pragma once

#include <optional>

namespace vesper::tools::bench {

// The median, in microseconds, of as many wake-ups by futex. nullopt on a machine with one processor.
std::optional<double> WakeMicroseconds(int wakes);

}  // namespace vesper::tools::bench
