// Answers Prometheus at http://ADDRESS/metrics.
#pragma once

#include <memory>
#include <string>

#include "server/desk/desk.h"

namespace vesper::server {

// Owned by the supervisor. Threads of its own answer, and reach the supervisor by way of the desk.
class Metrics {
 public:
  // `address` is HOST:PORT. nullptr with a sentence. Desk and steering live longer.
  static std::unique_ptr<Metrics> Open(const std::string& address, Desk* desk, Steering* steering, std::string* error);
  virtual ~Metrics() = default;
};

}  // namespace vesper::server
