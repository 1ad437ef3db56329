#include "server/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <array>
#include <new>

namespace vesper::server {
namespace {

constexpr std::array kLevels = {spdlog::level::debug, spdlog::level::info, spdlog::level::warn, spdlog::level::err,
                                spdlog::level::off};

spdlog::level::level_enum LevelOf(LogLevel level) noexcept { return kLevels[static_cast<size_t>(level)]; }

}  // namespace

void StartLog(LogLevel level, bool threads) {
  const auto logger = threads ? spdlog::stderr_logger_mt("vesper-worker") : spdlog::stderr_logger_st("vesper");
  logger->set_pattern("%H:%M:%S.%e %l [%P] %v");
  logger->set_level(LevelOf(level));
  spdlog::set_default_logger(logger);
}

LogLevel LogLevelOf(std::string_view name) {
  if (name == "debug") return LogLevel::kDebug;
  if (name == "info") return LogLevel::kInfo;
  return name == "warn" ? LogLevel::kWarning : LogLevel::kError;
}

bool Logs(LogLevel level) noexcept { return spdlog::should_log(LevelOf(level)); }

void LogText(LogLevel level, fmt::string_view format, fmt::format_args arguments) noexcept {
  try {
    spdlog::log(LevelOf(level), spdlog::string_view_t(fmt::vformat(format, arguments)));
  } catch (const std::bad_alloc&) {
  }
}

}  // namespace vesper::server
