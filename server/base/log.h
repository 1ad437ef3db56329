// The server's log, on stderr, which is never waited for (line_writer.h). Formatting is compiled in {fmt} and log.cpp, not in every file that logs.
#pragma once

#include <fmt/core.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace vesper::server {

enum class LogLevel { kDebug, kInfo, kWarning, kError, kNothing };

// Called once, before threads are started.
void StartLog(LogLevel level, bool worker);
// Limits how much this process may log from now on; when that is used up, one line says so. At first there is no limit.
struct LogAllowance {
  size_t lines = SIZE_MAX;
  size_t bytes = SIZE_MAX;
};
void LimitLog(const LogAllowance& allowance);
// What --log-level takes: error, warn, info or debug.
LogLevel LogLevelOf(std::string_view name);

bool Logs(LogLevel level) noexcept;
void LogText(LogLevel level, fmt::string_view format, fmt::format_args arguments) noexcept;

// Any thread. A line that memory does not suffice for is left out.
template <typename... Arguments>
void Log(LogLevel level, fmt::format_string<Arguments...> format, Arguments&&... arguments) noexcept {
  if (Logs(level)) LogText(level, format, fmt::make_format_args(arguments...));
}

}  // namespace vesper::server
