// The worker processes: some are started ahead and wait for a client, the others serve one each.
#pragma once

#include <poll.h>
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "runtime/descriptor.h"
#include "server/base/limits.h"
#include "server/desk/desk.h"
#include "server/entry/admission.h"
#include "server/pipelines/pipeline_store.h"
#include "server/process/worker_line.h"

namespace vesper::server {

// How a process ended, of what waitpid() says.
std::string Cause(int status);

// Owned by the supervisor, whose only thread calls it. Never waits for a worker, but in EndAll().
class Crew {
 public:
  using Clock = std::chrono::steady_clock;
  struct Limits {
    size_t clients = limits::kClientsOfDevice * limits::kDevices;  // sessions, with a device or without
    size_t devices = limits::kDevices;                             // sessions that have one
    size_t spares = limits::kSpares;                               // started ahead and kept
    std::chrono::milliseconds wait = limits::kWait;
  };
  // Starts a worker process that inherits `line`. `place` is the smallest number that no other worker has. Returns the process's
  // number, or a negative one with errno.
  using Spawn = std::function<pid_t(int line, uint32_t place)>;

  Crew(const Limits& limits, Spawn spawn);
  ~Crew();
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  // Starts as many workers as are missing for `waiting` clients and for those to come; the latter not just when a session has begun.
  void Refill(size_t waiting);
  // Whether a worker is ready and may get a session.
  bool CanServe() const;
  // Gives the socket, which stays the caller's, and the memory of its guest, if there is one, to a worker that is ready. False
  // when that worker has ended meanwhile.
  bool Serve(int socket, const Admission& admission, Descriptor area = {});
  // Passes the socket, which stays the caller's, to the worker of the session that it resumes. False, with a sentence, when that has
  // ended or is another client's.
  bool Resume(int socket, const Admission& admission, std::string* why);
  // Fills in what whoever runs the server sees of sessions, of faults, and of what ended sessions used.
  void View(ServerView* view) const;
  // Ends that session; false when there is none.
  bool End(uint64_t session);
  // Others wait for a client's place: ends the session, if there is one, whose client has been waited for longest, and for
  // limits::kMakesWayAfter at least, unless one is about to end already.
  void MakeWay();
  size_t sessions() const { return sessions_; }
  // How many sessions are of clients with that name.
  size_t sessions_of(std::string_view name) const;
  // Ends sessions of clients with a name for which `may_stay` is false. Clients without a name stay.
  void EndUnless(const std::function<bool(std::string_view name)>& may_stay);
  // The certificates that sessions came with, and ending those of one of them.
  std::vector<tls::CertificateId> certificates() const;
  void EndRevoked(const tls::CertificateId& certificate);
  // Whether there are as many sessions as there may be.
  bool full() const { return sessions_ >= limits_.clients; }
  // Why workers cannot be started, after several in a row could not; else empty. Says it once.
  std::string TakeFailure();

  void AddTo(std::vector<pollfd>* entries) const;
  void ReadReports();
  // The process has been reaped. False when it was no worker.
  bool Ended(pid_t pid, int status);
  // Memory of guests that stays in use although its worker has ended, since the last call.
  struct Left {
    uint32_t guest = 0;
    Descriptor area;
  };
  std::vector<Left> TakeLeft() { return std::exchange(left_, {}); }
  size_t sessions_of_guest(uint32_t guest) const;
  // Where pipelines are kept of sessions that have ended; before any session.
  void set_pipelines(PipelineStore* store) { pipelines_ = store; }
  // Denies devices to sessions that have waited for one too long. True while sessions wait, or a spare is to be started.
  bool Tick();
  // Ends all workers and waits until they have ended. `signal_fd` is read, since SIGCHLD comes there.
  void EndAll(int signal_fd);

 private:
  enum class State : uint8_t { kStarting, kReady, kServing, kFailed };
  enum class Device : uint8_t { kNone, kWanted, kHeld };
  struct Worker {
    int line = -1;
    uint32_t place = 0;
    State state = State::kStarting;
    Device device = Device::kNone;
    uint64_t session = 0;
    std::string who{}, program{};
    std::string owner{};  // of its pipelines
    uint32_t kept = 0;    // how often it had them kept
    tls::CertificateId certificate{};
    Account account{};
    Clock::time_point told{};  // when the account came
    Clock::time_point since{};
    bool to_end = false;  // it is ended by order, which is no fault
    uint64_t wanted = 0;  // its place among the sessions that wait for a device: the lowest comes first
    Clock::time_point wanted_since;
    uint32_t guest = 0;  // that its client is a program of
    Descriptor area =
        {};  // the guest's memory, with what the worker holds of it; none where the guest's own kernel gives it out
  };

  size_t Count(State state) const;
  void Start();
  uint32_t FreePlace() const;
  void Fail(const std::string& reason);
  void Handle(pid_t pid, Worker* worker);
  void HandlePipelines(Worker* worker, Report report, std::string_view text, const Descriptor& file);
  void GrantDevices();
  void DropDevice(Worker* worker);
  static void CloseLine(Worker* worker);
  static void EndNow(pid_t pid, Worker* worker);
  // For how long the session's client has been waited for to come again; zero when it is there.
  static Clock::duration BrokenFor(const Worker& worker);
  void MakeWayAmong(const std::function<bool(const Worker&)>& counts);

  const Limits limits_;
  const Spawn spawn_;
  std::unordered_map<pid_t, Worker> workers_;
  size_t sessions_ = 0;
  size_t devices_ = 0;
  uint64_t numbers_ = 0;
  uint64_t wishes_ = 0;
  uint64_t faults_ = 0;
  Account ended_{};
  size_t failures_ = 0;  // in a row
  Clock::time_point failed_at_{};
  std::string failure_;
  Clock::time_point served_{};  // when the last session began
  bool refills_later_ = false;
  std::vector<Left> left_;
  PipelineStore* pipelines_ = nullptr;
};

}  // namespace vesper::server
