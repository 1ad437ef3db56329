// What a row's figures are in.
#pragma once

#include <cstdint>
#include <string_view>

namespace vesper::tools::bench {

enum class Unit : uint8_t { kMilliseconds, kMicroseconds, kNanoseconds, kMegabytes, kMillions, kFrames };

std::string_view NameOf(Unit unit);
// Of rates more is better, of times less.
bool IsRate(Unit unit);
// The figure of `amount` operations (bytes, commands, frames) that took `seconds`.
double FigureOf(Unit unit, double amount, double seconds);

}  // namespace vesper::tools::bench
