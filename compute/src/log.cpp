#include "compute/src/log.h"

#include <cstdio>
#include <memory>
#include <mutex>

namespace vesper::compute {
namespace {

struct Sink {
  std::mutex mutex;
  std::shared_ptr<const LogFunction> function;
};

// Never destroyed: objects of static storage may log while the process ends.
Sink& TheSink() {
  static Sink* const sink = new Sink;
  return *sink;
}

}  // namespace

void SetLogFunction(LogFunction function) {
  auto replacement = function ? std::make_shared<const LogFunction>(std::move(function)) : nullptr;
  const std::lock_guard lock(TheSink().mutex);
  TheSink().function = std::move(replacement);
}

void Log(LogLevel level, const std::string& message) {
  std::shared_ptr<const LogFunction> function;
  {
    const std::lock_guard lock(TheSink().mutex);
    function = TheSink().function;
  }
  if (function != nullptr) {
    (*function)(level, message);
  } else if (level >= LogLevel::kWarning) {
    std::fprintf(stderr, "vesper-compute: %s: %s\n", level == LogLevel::kError ? "error" : "warning", message.c_str());
  }
}

}  // namespace vesper::compute
