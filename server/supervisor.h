// Accepts clients and gives each a worker process of its own. Holds no driver code and decodes
// nothing that clients send, so that no client can bring it down.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "runtime/address.h"
#include "server/options.h"

namespace vesper::server {

// Single-threaded; one per process, which must have started no thread.
class Supervisor {
 public:
  explicit Supervisor(const ServerOptions& options) : options_(options) {}
  ~Supervisor();
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  // Until SIGTERM or SIGINT; returns the process's exit code.
  int Run();

 private:
  struct Worker {
    int fd = -1;           // closed once it has its session
    uint64_t session = 0;  // 0: spare
    std::chrono::steady_clock::time_point started;
  };

  bool BlockSignals();
  bool Listen();
  bool Probe();
  void Serve();
  // False when the process must end.
  bool HandleSignals();
  void Reap();
  void Accept(Listener* listener);
  void Refuse(int socket);
  pid_t Spawn(std::vector<std::string> arguments, int inherited_fd);
  std::optional<pid_t> Spare();
  void StartSpare();
  void EndWorkers();

  const ServerOptions options_;
  int signal_fd_ = -1;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::unordered_map<pid_t, Worker> workers_;
  std::unordered_set<pid_t> refusers_;  // processes that tell a client why it is not served
  pid_t probe_ = 0;
  std::optional<int> probe_status_;
  uint64_t sessions_ = 0;
  std::chrono::steady_clock::time_point turned_away_;
  bool spare_fails_ = false;  // the last one ended early: none is started until a client comes
};

}  // namespace vesper::server
