// The server's log, on stderr. Formatting is compiled in {fmt} and log.cpp, not in every file that logs.
#pragma once

#include <fmt/core.h>

#include <string_view>

namespace vesper::server {

enum class LogLevel { kDebug, kInfo, kWarning, kError, kNothing };

// Called once, before threads are started; `threads` says whether any will log.
void StartLog(LogLevel level, bool threads);
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
