#include "client/base/log.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "client/base/limits.h"
#include "runtime/environment.h"

namespace vesper::client {
namespace {

constexpr const char* kNames[] = {"error", "warn", "info", "debug"};

LogLevel ChosenLevel() {
  const char* wanted = Setting("VESPER_LOG");
  for (int i = 0; wanted != nullptr && i < 4; ++i) {
    if (std::strcmp(wanted, kNames[i]) == 0) return static_cast<LogLevel>(i);
  }
  return LogLevel::kWarn;
}

}  // namespace

bool LogEnabled(LogLevel level) noexcept {
  static const LogLevel chosen = ChosenLevel();
  return level <= chosen;
}

void Log(LogLevel level, const char* format, ...) noexcept {
  if (!LogEnabled(level)) return;
  char line[limits::kMaxLine];
  const int head = std::snprintf(line, sizeof(line), "vesper: %s: ", kNames[static_cast<int>(level)]);
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(line + head, sizeof(line) - static_cast<size_t>(head), format, arguments);
  va_end(arguments);
  std::fprintf(stderr, "%s\n", line);
}

}  // namespace vesper::client
