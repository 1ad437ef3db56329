// Accepts clients and gives each a worker process of its own. Holds no driver code and decodes nothing that clients send
// but the few bytes of their Hello, so that no client can bring it down.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/address.h"
#include "server/desk/admin.h"
#include "server/desk/metrics.h"
#include "server/entry/door.h"
#include "server/entry/guests.h"
#include "server/entry/local_peers.h"
#include "server/pipelines/pipeline_store.h"
#include "server/process/crew.h"
#include "server/process/lobby.h"
#include "server/process/options.h"
#include "server/sandbox/groups.h"

namespace vesper::server {

// One per process, which must have started no thread before. All members are called by the thread of Run(), and no lock guards
// them: admin and metrics, which have threads, ask at the desk. Because of these threads only async-signal-safe functions are
// called between fork and exec. Nothing that a peer or a worker does makes Run() wait.
class Supervisor : private Steering {
 public:
  explicit Supervisor(const ServerOptions& options);
  ~Supervisor() override;
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  // Until SIGTERM or SIGINT; returns the process's exit code.
  int Run();

 private:
  bool BlockSignals();
  bool Listen();
  bool ListenOn(const Address& address);
  bool ListenForVenus();
  // False after a line in the log: other machines reach it without TLS, and nobody said --insecure.
  bool MayListenOn(const Address& address) const;
  void UseGroups();
  bool Probe();
  // Finds out in which sandbox the driver works.
  bool ProbeSandbox();
  bool FindWorkerUser();
  // Runs this program with these arguments and waits for its status. nullopt when it did not end in time or the server is to
  // end.
  std::optional<int> RunChild(std::vector<std::string> arguments);
  pid_t SpawnWorker(int line, uint32_t place);
  pid_t SpawnDoorkeeper(int line);
  // Opens the door if there are addresses for TLS. False when the process must end.
  bool OpenDoor();
  bool OpenGuests();
  // Takes over a client that the door has let in.
  void Admit(int socket, const Admission& admission);
  // Passes a client whose connection broke to its worker.
  void Resume(int socket, const Admission& admission);
  bool ReloadTokens(std::string* error);
  // Starts admin and metrics, whose threads begin here.
  bool OpenDesk();

  ServerView View() override;
  bool End(uint64_t session) override;
  void Drain() override;
  uint32_t Reload(std::string* error) override;

  void Serve();
  // One round of the loop; false when the process must end.
  bool ServeOnce();
  // False when the process must end.
  bool HandleSignals();
  void Reap();
  void Accept(Listener* listener);
  // Gives clients that wait to workers that are ready.
  void Seat();
  pid_t Spawn(std::vector<std::string> arguments, int inherited_fd);

  const ServerOptions options_;
  int signal_fd_ = -1;
  std::vector<std::unique_ptr<Listener>> listeners_;  // the door accepts at those for TLS
  std::vector<const Listener*> venus_;                // of these, for Mesa's driver
  std::unique_ptr<Door> door_;                        // nullptr: there are none
  LocalPeers local_peers_;
  Guests guests_;
  Lobby lobby_;
  Groups groups_;
  PipelineStore pipelines_;
  Crew crew_;
  std::string sandbox_ = "off";
  uint32_t worker_uid_ = 0;   // the workers' first user; 0: they keep the supervisor's
  uint32_t worker_uids_ = 1;  // how many users from there on are for workers
  pid_t probe_ = 0;
  std::optional<int> probe_status_;
  std::chrono::steady_clock::time_point turned_away_;
  std::chrono::steady_clock::time_point ticked_;
  const std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
  bool draining_ = false;
  Desk desk_;
  std::unique_ptr<AdminService> admin_;
  std::unique_ptr<Metrics> metrics_;
};

}  // namespace vesper::server
