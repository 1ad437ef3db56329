// What vesper-server was told on its command line; supervisor, workers and probe share it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "server/base/limits.h"
#include "server/base/machine_memory.h"
#include "server/device/driver.h"
#include "server/recording/lanes.h"

namespace vesper::server {

// In MiB. What sanitizers reserve is beyond any limit.
inline uint32_t HalfOfMemory() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return 0;
#else
  return static_cast<uint32_t>(std::min<uint64_t>(MachineMemory() / 2 >> 20, limits::kMostMebibytes));
#endif
}

struct ServerOptions {
  std::vector<std::string> listen;  // empty: the default Unix socket
  std::vector<std::string> venus;   // Unix sockets for Mesa's Venus driver
  bool insecure = false;            // TCP without TLS, beyond this machine
  std::string credentials;          // a folder; empty: the default one of Credentials
  std::string client_ca;            // a file
  std::string client_crl;           // a file
  std::vector<std::string> allowed_users, allowed_groups, allowed_cids;
  std::vector<std::string> guests;
  std::string guest_folder;  // empty: one of this user in /dev/shm
  std::string gpu;
  std::string validation;  // empty: none; "log" or "strict"
  bool validate_shaders = false;
  std::string log_level = "info";
  std::string log_format = "text";
  std::string admin;                                 // an address; empty: the default one; "none"
  std::string metrics;                               // HOST:PORT; empty: none
  uint32_t max_sessions = limits::kDevices;          // with a device
  uint32_t max_clients = 0;                          // with a device or without; 0: four times as many
  uint32_t spares = limits::kSpares;                 // workers started ahead
  uint32_t max_wait = limits::kWait.count();         // seconds
  uint32_t max_gpu_time = 0, max_idle = 0;           // seconds; 0: no limit
  uint32_t resume_for = limits::kResumeFor.count();  // seconds
  uint32_t max_objects = SessionLimits{}.objects;    // the rest in MiB
  uint32_t max_message = static_cast<uint32_t>(SessionLimits{}.message_bytes >> 20);
  uint32_t max_queued = static_cast<uint32_t>(SessionLimits{}.queued_bytes >> 20);
  uint32_t max_unread = static_cast<uint32_t>(SessionLimits{}.unread_bytes >> 20);
  uint32_t max_memory = HalfOfMemory();  // 0: as much as there is
  uint64_t max_shared_mib = 0;           // 0: half of the machine's
  std::string sandbox;                   // a name of Sandbox; empty: the strictest that the driver works in
  std::string pipelines;                             // a folder; empty: the default one of PipelineStore; "off"
  std::string worker_user = "dynamic";
  uint32_t worker_uid = 0;     // set in a worker: its user, unless 0
  bool probe_sandbox = false;  // set in the process that tries the sandbox
  bool tls = false;            // set in a worker: its client may come by TLS
  int door_fd = -1;            // set in the process that meets strangers
  int worker_fd = -1;          // set in a worker: where its session's socket comes from
  bool probe = false;          // set in the probe

  uint32_t clients() const { return max_clients != 0 ? max_clients : limits::kClientsOfDevice * max_sessions; }
  DriverOptions driver() const {
    // Shared memory is no data of the process, which the limit of memory counts.
    const bool limited = max_memory != 0 && (max_shared_mib == 0 || max_shared_mib > max_memory);
    DriverOptions driver;
    driver.validation = !validation.empty();
    driver.strict = validation == "strict";
    driver.validate_shaders = validate_shaders;
    driver.gpu = gpu;
    driver.max_shared_bytes = (limited ? uint64_t{max_memory} : max_shared_mib) << 20;
    return driver;
  }
  SessionLimits limits() const {
    const auto bytes = [](uint32_t mebibytes) { return size_t{mebibytes} << 20; };
    SessionLimits limits;
    limits.objects = max_objects;
    limits.message_bytes = bytes(max_message);
    limits.queued_bytes = bytes(max_queued);
    limits.unread_bytes = bytes(max_unread);
    limits.lanes = LanesOfMachine();
    limits.resume_for = std::chrono::seconds(resume_for);
    return limits;
  }
};

}  // namespace vesper::server
