// One line on stderr for people, as much as VESPER_LOG=error|warn|info|debug asks for (default: warn). The library is a guest
// in someone else's process: no logging library, no buffering of its own, nothing on stdout.
#pragma once

namespace vesper::client {

enum class LogLevel : int { kError, kWarn, kInfo, kDebug };

bool LogEnabled(LogLevel level) noexcept;
// printf-like; the line is written whole. Any thread.
[[gnu::format(printf, 2, 3)]] void Log(LogLevel level, const char* format, ...) noexcept;

}  // namespace vesper::client
