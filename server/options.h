// What vesper-server was told on its command line; supervisor, workers and probe share it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/driver.h"

namespace vesper::server {

struct ServerOptions {
  std::vector<std::string> listen;  // empty: the default Unix socket
  std::string gpu;
  bool validation = false;
  std::string log_level = "info";
  uint32_t max_sessions = 64;
  uint64_t max_shared_mib = 0;
  int worker_fd = -1;  // set in a worker: where its session's socket comes from
  bool probe = false;  // set in the probe

  DriverOptions driver() const { return {validation, gpu, max_shared_mib << 20}; }
};

}  // namespace vesper::server
