#include "client/objects/sync.h"

namespace vesper::client {

Clock::time_point DeadlineAfter(uint64_t timeout_ns) {
  const auto now = Clock::now();
  const auto longest = static_cast<uint64_t>((Clock::time_point::max() - now).count());
  return timeout_ns >= longest ? Clock::time_point::max() : now + std::chrono::nanoseconds(timeout_ns);
}

}  // namespace vesper::client
