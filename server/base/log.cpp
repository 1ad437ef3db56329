#include "server/base/log.h"

#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <ctime>
#include <memory>
#include <mutex>
#include <new>
#include <string_view>
#include <utility>

#include "server/base/limits.h"
#include "server/base/line_writer.h"
#include "server/base/log_format.h"

namespace vesper::server {
namespace {

constexpr std::array kLevels = {spdlog::level::debug, spdlog::level::info, spdlog::level::warn, spdlog::level::err,
                                spdlog::level::off};

spdlog::level::level_enum LevelOf(LogLevel level) noexcept { return kLevels[static_cast<size_t>(level)]; }

// As the inside of a JSON string, cut where it would be too long. `text` has no control characters.
std::string JsonText(std::string_view text) {
  std::string result;
  for (const char c : text) {
    const bool begins = (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    if (begins && result.size() >= limits::kMaxJsonText) return result + "...";
    if (c == '"' || c == '\\') result += '\\';
    result += c;
  }
  return result;
}

std::string JsonLine(spdlog::level::level_enum level, std::string_view text) {
  const auto now = std::chrono::system_clock::now();
  const auto milliseconds =
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  std::array<char, 32> time{};
  std::strftime(time.data(), time.size(), "%Y-%m-%dT%H:%M:%S", &utc);
  const auto name = spdlog::level::to_string_view(level);
  return fmt::format(R"({{"time":"{}.{:03}Z","level":"{}","pid":{},"message":"{}"}})", time.data(), milliseconds,
                     std::string_view(name.data(), name.size()), getpid(), JsonText(text));
}

// stderr, bounded. A process's only sink.
class Sink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit Sink(bool json) : json_(json), writer_(STDERR_FILENO, json ? &WarningInJson : nullptr) {}

  void Limit(const LogAllowance& allowance) {
    const std::lock_guard lock(mutex_);
    allowance_ = allowance;
    told_ = false;
  }

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    std::string object;
    if (json_) object = JsonLine(message.level, {message.payload.data(), message.payload.size()});
    if (!json_) formatter_->format(message, line);
    std::string_view text = json_ ? std::string_view(object) : std::string_view(line.data(), line.size());
    if (text.ends_with('\n')) text.remove_suffix(1);
    if (allowance_.lines == 0 || allowance_.bytes < text.size()) {
      const std::string last = "no more lines of this session: it has said too much";
      if (!std::exchange(told_, true)) writer_.Write(json_ ? WarningInJson(last) : last);
      return;
    }
    --allowance_.lines;
    allowance_.bytes -= std::min(text.size(), limits::kMaxLine);
    writer_.Write(text);
  }
  void flush_() override {}

 private:
  static std::string WarningInJson(const std::string& text) { return JsonLine(spdlog::level::warn, text); }

  const bool json_;
  LineWriter writer_;
  LogAllowance allowance_;
  bool told_ = false;
};

std::shared_ptr<Sink> g_sink;  // from StartLog() on
bool g_json = false;

}  // namespace

void LogInJson() { g_json = true; }

void StartLog(LogLevel level, bool worker) {
  g_sink = std::make_shared<Sink>(g_json);
  const auto logger = std::make_shared<spdlog::logger>(worker ? "vesper-worker" : "vesper", g_sink);
  logger->set_pattern("%H:%M:%S.%e %l [%P] %v");
  logger->set_level(LevelOf(level));
  spdlog::set_default_logger(logger);
}

void LimitLog(const LogAllowance& allowance) {
  if (g_sink != nullptr) g_sink->Limit(allowance);
}

LogLevel LogLevelOf(std::string_view name) {
  if (name == "debug") return LogLevel::kDebug;
  if (name == "info") return LogLevel::kInfo;
  return name == "warn" ? LogLevel::kWarning : LogLevel::kError;
}

bool Logs(LogLevel level) noexcept { return spdlog::should_log(LevelOf(level)); }

void LogText(LogLevel level, fmt::string_view format, fmt::format_args arguments) noexcept {
  try {
    spdlog::log(LevelOf(level), spdlog::string_view_t(Escaped(fmt::vformat(format, arguments))));
  } catch (const std::bad_alloc&) {
  }
}

}  // namespace vesper::server
