#include "server/process/supervisor.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <thread>
#include <utility>

#include "runtime/handshake.h"
#include "server/base/limits.h"
#include "server/base/log.h"
#include "server/entry/activation.h"
#include "server/entry/credentials.h"
#include "server/process/worker.h"
#include "server/sandbox/sandbox.h"

namespace vesper::server {
namespace {

using Clock = std::chrono::steady_clock;

sigset_t OurSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) sigaddset(&set, signal);
  return set;
}

}  // namespace

Supervisor::Supervisor(const ServerOptions& options)
    : options_(options),
      lobby_({.wait = std::chrono::seconds(options.max_wait)}),
      pipelines_(options.pipelines),
      crew_({.clients = options.clients(),
             .devices = options.max_sessions,
             .spares = options.spares,
             .wait = std::chrono::seconds(options.max_wait)},
            [this](int line, uint32_t place) { return SpawnWorker(line, place); }) {
  crew_.set_pipelines(&pipelines_);
}

Supervisor::~Supervisor() {
  if (signal_fd_ >= 0) close(signal_fd_);
}

int Supervisor::Run() {
  if (!BlockSignals() || !Listen()) return 1;
  if (!Probe() || !FindWorkerUser() || !ProbeSandbox() || !OpenDoor() || !OpenGuests() || !OpenDesk()) return 1;
  UseGroups();
  crew_.Refill(0);
  for (const auto& listener : listeners_) {
    std::printf("listening on %s\n", listener->address().ToString().c_str());
    std::fflush(stdout);
  }
  guests_.Print();
  Serve();
  desk_.Close();
  admin_.reset();
  metrics_.reset();
  door_.reset();
  listeners_.clear();
  crew_.EndAll(signal_fd_);
  return 0;
}

// What a worker may have of memory is what it takes itself and what it shares.
void Supervisor::UseGroups() {
  const std::string folder = Groups::Delegated();
  if (folder.empty()) return;
  std::string error;
  const uint64_t shared = options_.max_shared_mib != 0 ? options_.max_shared_mib : HalfOfMemory();
  const uint64_t bytes = options_.max_memory == 0 ? 0 : (options_.max_memory + shared) << 20;
  if (groups_.Begin(folder, bytes, &error)) {
    Log(LogLevel::kInfo, "each worker has a control group of its own in {}", folder);
  } else {
    Log(LogLevel::kWarning, "workers have no control groups of their own: {}", error);
  }
}

bool Supervisor::BlockSignals() {
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ,
         SIG_IGN);  // a limit of files' sizes is an error of who writes, and not the end of everybody's session
  const sigset_t set = OurSignals();
  sigprocmask(SIG_BLOCK, &set, nullptr);
  signal_fd_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signal_fd_ >= 0) return true;
  Log(LogLevel::kError, "signalfd failed: {}", std::strerror(errno));
  return false;
}

bool Supervisor::Listen() {
  std::string error;
  std::optional<LocalPeers> peers =
      LocalPeers::Make(options_.allowed_users, options_.allowed_groups, options_.allowed_cids, &error);
  if (!peers) {
    Log(LogLevel::kError, "{}", error);
    return false;
  }
  local_peers_ = std::move(*peers);
  auto passed = PassedListeners(&error);
  if (!passed) {
    Log(LogLevel::kError, "{}", error);
    return false;
  }
  const bool any = !passed->empty();
  for (auto& listener : *passed) {
    if (!MayListenOn(listener->address())) return false;
    listeners_.push_back(std::move(listener));
  }
  if (options_.listen.empty() && !any && !ListenOn(DefaultUnixAddress())) return false;
  for (const std::string& text : options_.listen) {
    const std::optional<Address> address = ParseAddress(text, &error);
    if (!address) Log(LogLevel::kError, "--listen {}: {}", text, error);
    if (!address || !ListenOn(*address)) return false;
  }
  return ListenForVenus();
}

bool Supervisor::ListenForVenus() {
  for (const std::string& text : options_.venus) {
    std::string error = "Mesa's driver comes by Unix sockets alone";
    const std::optional<Address> address = ParseAddress(text, &error);
    if (!address || address->kind != Address::Kind::kUnix) Log(LogLevel::kError, "--venus {}: {}", text, error);
    if (!address || address->kind != Address::Kind::kUnix || !ListenOn(*address)) return false;
    venus_.push_back(listeners_.back().get());
  }
  return true;
}

bool Supervisor::ListenOn(const Address& address) {
  if (!MayListenOn(address)) return false;
  std::string error;
  std::unique_ptr<Listener> listener = Listener::Open(address, &error);
  if (listener != nullptr && address.kind == Address::Kind::kUnix && !local_peers_.Open(address.path, &error)) {
    listener.reset();
  }
  if (listener == nullptr) {
    Log(LogLevel::kError, "cannot listen on {}: {}", address.ToString(), error);
    return false;
  }
  listeners_.push_back(std::move(listener));
  return true;
}

bool Supervisor::MayListenOn(const Address& address) const {
  const bool naked = address.kind == Address::Kind::kTcp && !IsLoopback(address);
  if (naked && !options_.insecure) {
    Log(LogLevel::kError,
        "{} can be reached from other machines: listen on tls://, so that only who has a token may use the GPU and "
        "nobody "
        "listens in, or say --insecure",
        address.ToString());
    return false;
  }
  if (naked) {
    Log(LogLevel::kWarning,
        "INSECURE: whoever reaches {} may use the GPU, and whoever is between sees and changes what clients do",
        address.ToString());
  }
  return true;
}

bool Supervisor::OpenDoor() {
  std::vector<int> sockets;
  for (const auto& listener : listeners_) {
    if (listener->address().kind == Address::Kind::kTls) sockets.push_back(listener->fd());
  }
  if (sockets.empty()) return true;
  if (!options_.client_crl.empty() && options_.client_ca.empty()) {
    Log(LogLevel::kError, "--client-crl names no certificates that are let in: name their authority with --client-ca");
    return false;
  }
  const Credentials paths(options_.credentials);
  door_ = std::make_unique<Door>(
      Door::Files{paths.key(), paths.certificate(), paths.tokens(), options_.client_ca, options_.client_crl},
      std::move(sockets), [this](int line) { return SpawnDoorkeeper(line); },
      [this](int socket, const Admission& admission) { Admit(socket, admission); },
      Door::Held{[this] { return crew_.certificates(); },
                 [this](const tls::CertificateId& certificate) { crew_.EndRevoked(certificate); }});
  std::string error;
  if (!door_->Open(&error)) {
    Log(LogLevel::kError, "no TLS: {}; `vesper-server init` makes a key, a certificate and a token", error);
    return false;
  }
  Log(LogLevel::kInfo, "TLS with the certificate {}; {} tokens", door_->fingerprint(), door_->tokens().size());
  return true;
}

void Supervisor::Admit(int socket, const Admission& admission) {
  const std::string_view name = admission.name();
  const Token* token = door_->tokens().Named(name);
  if (admission.resumes != 0 && door_->Knows(name)) {
    Resume(socket, admission);
  } else if (draining_) {
    lobby_.TurnAway({socket, admission}, kDraining);
  } else if (!door_->Knows(name)) {  // it was taken away while the client came in
    lobby_.TurnAway({socket, admission}, "the token is no longer one of this server's");
  } else if (token != nullptr && token->sessions != 0 &&
             crew_.sessions_of(name) + lobby_.queued_of(name) >= token->sessions) {
    lobby_.TurnAway({socket, admission},
                    fmt::format("the token {} has as many sessions as it may ({})", name, token->sessions));
  } else {
    lobby_.EnterAdmitted(socket, admission);
  }
}

void Supervisor::Resume(int socket, const Admission& admission) {
  std::string why;
  if (crew_.Resume(socket, admission, &why)) {
    close(socket);
  } else {
    lobby_.TurnAway({socket, admission}, why);
  }
}

bool Supervisor::ReloadTokens(std::string* error) {
  if (!door_->ReloadTokens(error)) {
    Log(LogLevel::kError, "the tokens stay as they were: {}", *error);
    return false;
  }
  crew_.EndUnless([this](std::string_view name) { return name.starts_with(kGuestName) || door_->Knows(name); });
  return true;
}

bool Supervisor::OpenGuests() {
  for (const std::string& text : options_.guests) {
    std::string error;
    if (guests_.Add(text, options_.guest_folder, local_peers_, &error)) continue;
    Log(LogLevel::kError, "--guest {}: {}", text, error);
    return false;
  }
  return true;
}

bool Supervisor::OpenDesk() {
  std::string error;
  if (options_.admin != "none") {
    std::optional<Address> address = DefaultAdminAddress();
    if (!options_.admin.empty()) address = ParseAddress(options_.admin, &error);
    if (address && address->kind != Address::Kind::kUnix) error = "admin is on a Unix socket or nowhere";
    if (address && address->kind == Address::Kind::kUnix) admin_ = AdminService::Open(*address, &desk_, this, &error);
    if (admin_ == nullptr && !options_.admin.empty()) Log(LogLevel::kError, "--admin {}: {}", options_.admin, error);
    if (admin_ == nullptr && !options_.admin.empty()) return false;
    if (admin_ == nullptr) Log(LogLevel::kInfo, "`vesper ps` and the like do not reach this server: {}", error);
  }
  if (options_.metrics.empty()) return true;
  metrics_ = Metrics::Open(options_.metrics, &desk_, this, &error);
  if (metrics_ == nullptr) Log(LogLevel::kError, "{}", error);
  return metrics_ != nullptr;
}

ServerView Supervisor::View() {
  ServerView view;
  crew_.View(&view);
  view.waiting = static_cast<uint32_t>(lobby_.queued());
  view.refused = lobby_.refused() + (door_ == nullptr ? 0 : door_->refused());
  view.draining = draining_;
  view.seconds = std::chrono::duration<double>(Clock::now() - begun_).count();
  return view;
}

bool Supervisor::End(uint64_t session) { return crew_.End(session); }

void Supervisor::Drain() {
  if (!std::exchange(draining_, true)) Log(LogLevel::kInfo, "no new sessions; the server ends with the last one");
  lobby_.Drain();
  if (door_ != nullptr) door_->Drain();
}

uint32_t Supervisor::Reload(std::string* error) {
  if (door_ == nullptr) *error = "this server has no tokens: it does not listen on tls://";
  if (door_ == nullptr || !ReloadTokens(error)) return 0;
  return static_cast<uint32_t>(door_->tokens().size());
}

pid_t Supervisor::Spawn(std::vector<std::string> arguments, int inherited_fd) {
  arguments.insert(arguments.begin(), "vesper-server");
  arguments.insert(arguments.end(), {"--log-level", options_.log_level, "--log-format", options_.log_format});
  if (!options_.gpu.empty()) arguments.insert(arguments.end(), {"--gpu", options_.gpu});
  if (!options_.validation.empty()) arguments.emplace_back("--validation=" + options_.validation);
  if (options_.validate_shaders) arguments.emplace_back("--validate-shaders");
  for (const auto& [name, value] : {std::pair("--max-objects", options_.max_objects),
                                    {"--max-message", options_.max_message},
                                    {"--max-queued", options_.max_queued},
                                    {"--max-unread", options_.max_unread},
                                    {"--max-memory", options_.max_memory},
                                    {"--max-gpu-time", options_.max_gpu_time},
                                    {"--max-idle", options_.max_idle},
                                    {"--resume-for", options_.resume_for}}) {
    arguments.insert(arguments.end(), {name, std::to_string(value)});
  }
  if (options_.max_shared_mib != 0) {
    arguments.insert(arguments.end(), {"--max-shared-memory", std::to_string(options_.max_shared_mib)});
  }
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid != 0) return pid;
  // This is the child, which calls only async-signal-safe functions until exec.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  const sigset_t set = OurSignals();
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
  if (inherited_fd >= 0) {
    fcntl(inherited_fd, F_SETFD, 0);
    dup2(STDERR_FILENO, STDOUT_FILENO);  // only the supervisor writes to stdout
  }
  execv("/proc/self/exe", argv.data());
  _exit(127);
}

std::optional<int> Supervisor::RunChild(std::vector<std::string> arguments) {
  const pid_t pid = Spawn(std::move(arguments), -1);
  if (pid < 0) {
    Log(LogLevel::kError, "fork failed: {}", std::strerror(errno));
    return std::nullopt;
  }
  probe_ = pid;
  probe_status_.reset();
  const auto deadline = Clock::now() + limits::kProbePatience;
  while (!probe_status_) {
    pollfd entry{signal_fd_, POLLIN, 0};
    poll(&entry, 1, limits::kStartLook.count());
    const bool late = Clock::now() > deadline;
    if (late) Log(LogLevel::kError, "the GPU driver does not answer; check it with vulkaninfo");
    if (late || !HandleSignals()) {
      if (!probe_status_) {
        kill(pid, SIGKILL);
        waitpid(pid, nullptr, 0);
      }
      return std::nullopt;
    }
  }
  return probe_status_;
}

bool Supervisor::Probe() {
  const std::optional<int> status = RunChild({"--probe"});
  if (status && *status != 0 && !WIFEXITED(*status)) {
    Log(LogLevel::kError, "looking at the GPU ended with {}", Cause(*status));
  }
  return status && *status == 0;
}

bool Supervisor::ProbeSandbox() {
  if (!SandboxWorks()) {
    Log(LogLevel::kWarning, "workers are not confined: this is a build with sanitizers");
    return true;
  }
  for (const Sandbox sandbox : {Sandbox::kStrict, Sandbox::kDriver, Sandbox::kOff}) {
    const std::string name(NameOf(sandbox));
    if (!options_.sandbox.empty() && options_.sandbox != name) continue;
    std::vector<std::string> arguments{"--probe-sandbox", "--sandbox", name};
    if (worker_uid_ != 0) arguments.insert(arguments.end(), {"--worker-uid", std::to_string(worker_uid_)});
    const std::optional<int> status = sandbox == Sandbox::kOff ? 0 : RunChild(std::move(arguments));
    if (!status) return false;
    if (*status == 0) {
      sandbox_ = name;
      const auto level = sandbox == Sandbox::kOff ? LogLevel::kWarning : LogLevel::kInfo;
      Log(level, "workers run with --sandbox {}", name);
      return true;
    }
    Log(LogLevel::kWarning, "the driver does not work with --sandbox {} ({})", name, Cause(*status));
  }
  return false;
}

bool Supervisor::FindWorkerUser() {
  if (geteuid() != 0 || options_.worker_user == "same" || options_.sandbox == "off") return true;
  if (options_.worker_user == "dynamic") {
    worker_uid_ = limits::kFirstDynamicUser;
    worker_uids_ = limits::kDynamicUsers;
    return true;
  }
  const passwd* user = getpwnam(options_.worker_user.c_str());
  if (user != nullptr) worker_uid_ = user->pw_uid;
  if (user == nullptr) Log(LogLevel::kError, "--worker-user {}: there is no such user", options_.worker_user);
  return user != nullptr;
}

pid_t Supervisor::SpawnWorker(int line, uint32_t place) {
  std::vector<std::string> arguments{"--worker-fd", std::to_string(line), "--sandbox", sandbox_};
  if (worker_uid_ != 0) {
    arguments.insert(arguments.end(), {"--worker-uid", std::to_string(worker_uid_ + place % worker_uids_)});
  }
  if (door_ != nullptr) arguments.emplace_back("--tls");
  if (!pipelines_.keeps()) arguments.insert(arguments.end(), {"--pipelines", "off"});
  const pid_t pid = Spawn(std::move(arguments), line);
  groups_.Enter(place, pid);
  return pid;
}

pid_t Supervisor::SpawnDoorkeeper(int line) {
  std::vector<std::string> arguments{"--door-fd", std::to_string(line), "--sandbox", sandbox_};
  // It gets the last of these users, since workers begin with the first.
  if (worker_uid_ != 0) {
    arguments.insert(arguments.end(), {"--worker-uid", std::to_string(worker_uid_ + worker_uids_ - 1)});
  }
  return Spawn(std::move(arguments), line);
}

void Supervisor::Serve() {
  while (ServeOnce()) {
  }
}

bool Supervisor::ServeOnce() {
  std::vector<pollfd> entries{{signal_fd_, POLLIN, 0},
                              {lobby_.fd(), POLLIN, 0},
                              {door_ == nullptr ? -1 : door_->fd(), POLLIN, 0},
                              {desk_.fd(), POLLIN, 0}};
  const size_t first_listener = entries.size();
  // poll() ignores negative numbers, which stand for a door without a process and for sockets at which the door accepts.
  for (const auto& listener : listeners_) {
    entries.push_back({listener->address().kind == Address::Kind::kTls ? -1 : listener->fd(), POLLIN, 0});
  }
  const size_t first_guest = entries.size();
  guests_.AddTo(&entries);
  crew_.AddTo(&entries);
  const bool waited_for = crew_.Tick() || !lobby_.empty() || guests_.waits() || (door_ != nullptr && door_->waits());
  if (poll(entries.data(), entries.size(), waited_for ? static_cast<int>(limits::kTick.count()) : -1) < 0 &&
      errno != EINTR) {
    Log(LogLevel::kError, "poll failed: {}", std::strerror(errno));
    return false;
  }
  if (entries[0].revents != 0 && !HandleSignals()) return false;
  if (entries[1].revents != 0) lobby_.Look();
  if (entries[2].revents != 0) door_->Look();
  if (entries[3].revents != 0) desk_.Serve();
  for (size_t i = first_listener; i < first_guest; ++i) {
    if (entries[i].revents != 0) Accept(listeners_[i - first_listener].get());
  }
  guests_.Look(local_peers_, [this](int socket, const Admission& admission) {
    if (draining_) return lobby_.TurnAway({socket, admission}, kDraining);
    if (admission.venus) return lobby_.EnterAdmitted(socket, admission);
    lobby_.Enter(socket, admission);
  });
  while (const std::optional<Lobby::Waiting> next = lobby_.NextResuming()) Resume(next->socket, next->admission);
  crew_.ReadReports();
  for (Crew::Left& left : crew_.TakeLeft()) guests_.Keep(left.guest, std::move(left.area));
  guests_.Release([this](uint32_t guest) { return crew_.sessions_of_guest(guest); });
  Seat();
  if (draining_ && crew_.sessions() == 0 && lobby_.queued() == 0) return false;
  if (const auto now = Clock::now(); now - ticked_ >= limits::kTick) {
    ticked_ = now;
    if (door_ != nullptr) door_->Tick();
    lobby_.Tick(crew_.full()
                    ? "the server has as many clients as it may; end one, or start it with a larger --max-clients"
                    : "");
  }
  return true;
}

void Supervisor::Seat() {
  while (lobby_.queued() != 0 && crew_.CanServe()) {
    const std::optional<Lobby::Waiting> next = lobby_.Next();
    if (crew_.Serve(next->socket, next->admission, guests_.OpenMemory(next->admission))) {
      close(next->socket);
    } else {
      lobby_.PutBack(*next);
    }
  }
  if (lobby_.queued() != 0 && crew_.full()) crew_.MakeWay();
  if (const std::string failure = crew_.TakeFailure(); !failure.empty()) lobby_.RefuseAll(failure);
  crew_.Refill(lobby_.queued());
}

bool Supervisor::HandleSignals() {
  signalfd_siginfo info;
  bool go_on = true;
  while (read(signal_fd_, &info, sizeof(info)) == sizeof(info)) {
    if (info.ssi_signo == SIGHUP && door_ != nullptr) {
      std::string ignored;
      ReloadTokens(&ignored);
    } else if (info.ssi_signo != SIGCHLD) {
      Log(LogLevel::kInfo, "ending by signal {}", info.ssi_signo);
      go_on = false;
    }
  }
  Reap();
  return go_on;
}

void Supervisor::Reap() {
  int status = 0;
  pid_t pid;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    if (pid == probe_) {
      probe_status_ = status;
    } else if (door_ == nullptr || !door_->Ended(pid, Cause(status))) {
      crew_.Ended(pid, status);
    }
  }
}

void Supervisor::Accept(Listener* listener) {
  for (int i = 0; i < limits::kMaxAccepted; ++i) {
    const int socket = listener->Accept();
    if (socket == Listener::kTurnedAway) {
      if (lobby_.Evict()) continue;  // there is room for the next
      if (Clock::now() - turned_away_ > limits::kRefusalLines) {
        Log(LogLevel::kError, "clients are turned away: no file descriptor is left; raise ulimit -n");
        turned_away_ = Clock::now();
      }
      std::this_thread::sleep_for(limits::kTurnAwayPause);
      return;
    }
    if (socket < 0) return;
    std::string why;
    Admission admission;
    admission.venus = std::find(venus_.begin(), venus_.end(), listener) != venus_.end();
    const Address::Kind kind = listener->address().kind;
    const bool local = kind == Address::Kind::kUnix || kind == Address::Kind::kVsock;
    if (local && !local_peers_.Allows(socket, &why)) {
      lobby_.TurnAway({socket, admission}, why);
    } else if (draining_ && kind != Address::Kind::kTcp && kind != Address::Kind::kVsock) {
      lobby_.TurnAway({socket, admission}, kDraining);
    } else if (admission.venus) {
      lobby_.EnterAdmitted(socket, admission);
    } else {
      lobby_.Enter(socket);
    }
  }
}

}  // namespace vesper::server
