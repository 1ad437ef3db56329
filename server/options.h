// What vesper-server was told on its command line; supervisor, workers and probe share it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/driver.h"
#include "server/limits.h"

namespace vesper::server {

struct ServerOptions {
  std::vector<std::string> listen;  // empty: the default Unix socket
  std::string gpu;
  bool validation = false;
  std::string log_level = "info";
  uint32_t max_sessions = 64;
  uint32_t max_objects = SessionLimits{}.objects;  // the rest in MiB
  uint32_t max_message = static_cast<uint32_t>(SessionLimits{}.message_bytes >> 20);
  uint32_t max_queued = static_cast<uint32_t>(SessionLimits{}.queued_bytes >> 20);
  uint32_t max_unread = static_cast<uint32_t>(SessionLimits{}.unread_bytes >> 20);
  uint32_t max_memory = 0;      // 0: as much as there is
  uint64_t max_shared_mib = 0;  // 0: half of the machine's
  int worker_fd = -1;           // set in a worker: where its session's socket comes from
  bool probe = false;           // set in the probe

  DriverOptions driver() const {
    // Shared memory is no data of the process, which the limit of memory counts.
    const bool limited = max_memory != 0 && (max_shared_mib == 0 || max_shared_mib > max_memory);
    return {validation, gpu, (limited ? uint64_t{max_memory} : max_shared_mib) << 20};
  }
  SessionLimits limits() const {
    const auto bytes = [](uint32_t mebibytes) { return size_t{mebibytes} << 20; };
    SessionLimits limits;
    limits.objects = max_objects;
    limits.message_bytes = bytes(max_message);
    limits.queued_bytes = bytes(max_queued);
    limits.unread_bytes = bytes(max_unread);
    return limits;
  }
};

}  // namespace vesper::server
