#include "server/supervisor.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
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

#include "runtime/handshake.h"
#include "server/log.h"
#include "server/worker.h"

namespace vesper::server {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kProbePatience{60};
constexpr std::chrono::milliseconds kEndPatience{3000};
constexpr std::chrono::seconds kEarly{2};
constexpr size_t kMaxRefusers = 8;
constexpr std::chrono::milliseconds kTurnAwayPause{20};
constexpr std::chrono::seconds kTurnAwayLines{1};  // between lines that say so
constexpr unsigned kRefusalSeconds = 5;

sigset_t OurSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGCHLD}) sigaddset(&set, signal);
  return set;
}

std::string Cause(int status) {
  if (WIFEXITED(status)) return fmt::format("exit status {}", WEXITSTATUS(status));
  if (WIFSIGNALED(status)) return fmt::format("signal {} ({})", WTERMSIG(status), strsignal(WTERMSIG(status)));
  return fmt::format("status {:#x}", status);
}

}  // namespace

Supervisor::~Supervisor() {
  if (signal_fd_ >= 0) close(signal_fd_);
}

int Supervisor::Run() {
  if (!BlockSignals() || !Listen()) return 1;
  if (!Probe()) return 1;
  StartSpare();
  for (const auto& listener : listeners_) {
    std::printf("listening on %s\n", listener->address().ToString().c_str());
    std::fflush(stdout);
  }
  Serve();
  listeners_.clear();
  EndWorkers();
  return 0;
}

bool Supervisor::BlockSignals() {
  signal(SIGPIPE, SIG_IGN);
  const sigset_t set = OurSignals();
  sigprocmask(SIG_BLOCK, &set, nullptr);
  signal_fd_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signal_fd_ >= 0) return true;
  Log(LogLevel::kError, "signalfd failed: {}", std::strerror(errno));
  return false;
}

bool Supervisor::Listen() {
  std::vector<Address> addresses;
  for (const std::string& text : options_.listen) {
    std::string error;
    const std::optional<Address> address = ParseAddress(text, &error);
    if (!address) {
      Log(LogLevel::kError, "--listen {}: {}", text, error);
      return false;
    }
    addresses.push_back(*address);
  }
  if (addresses.empty()) addresses.push_back(DefaultUnixAddress());
  for (const Address& address : addresses) {
    std::string error;
    std::unique_ptr<Listener> listener = Listener::Open(address, &error);
    if (listener == nullptr) {
      Log(LogLevel::kError, "cannot listen on {}: {}", address.ToString(), error);
      return false;
    }
    if (!IsLoopback(listener->address())) {
      Log(LogLevel::kWarning, "{} can be reached from other machines, and whoever reaches it may use the GPU",
          listener->address().ToString());
    }
    listeners_.push_back(std::move(listener));
  }
  return true;
}

pid_t Supervisor::Spawn(std::vector<std::string> arguments, int inherited_fd) {
  arguments.insert(arguments.begin(), "vesper-server");
  arguments.insert(arguments.end(), {"--log-level", options_.log_level});
  if (!options_.gpu.empty()) arguments.insert(arguments.end(), {"--gpu", options_.gpu});
  if (options_.validation) arguments.emplace_back("--validation");
  for (const auto& [name, value] : {std::pair("--max-objects", options_.max_objects),
                                    {"--max-message", options_.max_message},
                                    {"--max-queued", options_.max_queued},
                                    {"--max-unread", options_.max_unread},
                                    {"--max-memory", options_.max_memory}}) {
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
  // The child: until exec only what is safe after fork.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  const sigset_t set = OurSignals();
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
  if (inherited_fd >= 0) {
    fcntl(inherited_fd, F_SETFD, 0);
    dup2(STDERR_FILENO, STDOUT_FILENO);  // stdout is the supervisor's alone
  }
  execv("/proc/self/exe", argv.data());
  _exit(127);
}

bool Supervisor::Probe() {
  const pid_t pid = Spawn({"--probe"}, -1);
  if (pid < 0) {
    Log(LogLevel::kError, "fork failed: {}", std::strerror(errno));
    return false;
  }
  probe_ = pid;
  const auto deadline = Clock::now() + kProbePatience;
  while (!probe_status_) {
    pollfd entry{signal_fd_, POLLIN, 0};
    poll(&entry, 1, 100);
    const bool late = Clock::now() > deadline;
    if (late) Log(LogLevel::kError, "the GPU driver does not answer; check it with vulkaninfo");
    if (late || !HandleSignals()) {
      if (!probe_status_) {
        kill(pid, SIGKILL);
        waitpid(pid, nullptr, 0);
      }
      return false;
    }
  }
  if (*probe_status_ == 0) return true;
  if (!WIFEXITED(*probe_status_)) Log(LogLevel::kError, "looking at the GPU ended with {}", Cause(*probe_status_));
  return false;
}

void Supervisor::Serve() {
  std::vector<pollfd> entries{{signal_fd_, POLLIN, 0}};
  for (const auto& listener : listeners_) entries.push_back({listener->fd(), POLLIN, 0});
  while (true) {
    if (poll(entries.data(), entries.size(), -1) < 0 && errno != EINTR) {
      Log(LogLevel::kError, "poll failed: {}", std::strerror(errno));
      return;
    }
    if (entries[0].revents != 0 && !HandleSignals()) return;
    for (size_t i = 1; i < entries.size(); ++i) {
      if (entries[i].revents != 0) Accept(listeners_[i - 1].get());
    }
  }
}

bool Supervisor::HandleSignals() {
  signalfd_siginfo info;
  bool go_on = true;
  while (read(signal_fd_, &info, sizeof(info)) == sizeof(info)) {
    if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT) {
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
    if (pid == probe_) probe_status_ = status;
    refusers_.erase(pid);
    const auto found = workers_.find(pid);
    if (found == workers_.end()) continue;
    const Worker worker = found->second;
    workers_.erase(found);
    if (worker.fd >= 0) close(worker.fd);
    if (worker.session != 0) {
      const auto level = status == 0 ? LogLevel::kInfo : LogLevel::kError;
      Log(level, "session {}: worker {} ended with {}", worker.session, pid, Cause(status));
      continue;
    }
    Log(LogLevel::kError, "the spare worker {} ended with {}", pid, Cause(status));
    spare_fails_ = Clock::now() - worker.started < kEarly;
    if (!spare_fails_) StartSpare();
  }
}

std::optional<pid_t> Supervisor::Spare() {
  const auto found =
      std::find_if(workers_.begin(), workers_.end(), [](const auto& entry) { return entry.second.session == 0; });
  if (found == workers_.end()) return std::nullopt;
  return found->first;
}

void Supervisor::StartSpare() {
  if (Spare()) return;
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
    Log(LogLevel::kError, "no worker can be started: {}", std::strerror(errno));
    return;
  }
  const pid_t pid = Spawn({"--worker-fd", std::to_string(pair[1])}, pair[1]);
  close(pair[1]);
  if (pid < 0) {
    Log(LogLevel::kError, "no worker can be started: {}", std::strerror(errno));
    close(pair[0]);
    return;
  }
  workers_[pid] = {pair[0], 0, Clock::now()};
}

void Supervisor::Accept(Listener* listener) {
  const int socket = listener->Accept();
  if (socket == Listener::kTurnedAway) {
    if (Clock::now() - turned_away_ > kTurnAwayLines) {
      Log(LogLevel::kError, "clients are turned away: no file descriptor is left; raise ulimit -n");
      turned_away_ = Clock::now();
    }
    std::this_thread::sleep_for(kTurnAwayPause);
  }
  if (socket < 0) return;
  const size_t active = workers_.size() - (Spare() ? 1 : 0);
  if (active >= options_.max_sessions) {
    Log(LogLevel::kWarning, "a client is refused: {} sessions are open (--max-sessions)", active);
    Refuse(socket);
    close(socket);
    return;
  }
  for (int attempt = 0; attempt < 2; ++attempt) {
    StartSpare();
    const std::optional<pid_t> pid = Spare();
    if (!pid) break;
    Worker& worker = workers_[*pid];
    worker.session = ++sessions_;
    const bool given = HandOverSocket(worker.fd, socket, worker.session);
    close(worker.fd);
    worker.fd = -1;
    if (!given) continue;  // it died meanwhile
    Log(LogLevel::kDebug, "session {}: worker {}", worker.session, *pid);
    spare_fails_ = false;
    break;
  }
  close(socket);
  StartSpare();
}

// In a process of its own, since the client may not even say Hello.
void Supervisor::Refuse(int socket) {
  if (refusers_.size() >= kMaxRefusers) return;
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid > 0) refusers_.insert(pid);
  if (pid != 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  const sigset_t set = OurSignals();
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
  alarm(kRefusalSeconds);
  const std::unique_ptr<Channel> channel = MakeSocketChannel(socket);
  Hello hello;
  std::string error;
  if (channel != nullptr && ReceiveHello(*channel, &hello, &error)) {
    SendRefused(*channel,
                "the server has as many sessions as it may; end one, or start it with a larger "
                "--max-sessions");
  }
  _exit(0);
}

void Supervisor::EndWorkers() {
  for (const auto& [pid, worker] : workers_) kill(pid, SIGTERM);
  for (const pid_t pid : refusers_) kill(pid, SIGKILL);
  const auto deadline = Clock::now() + kEndPatience;
  bool killed = false;
  while (!workers_.empty()) {
    int status = 0;
    const pid_t pid = waitpid(-1, &status, WNOHANG);
    if (pid > 0) {
      workers_.erase(pid);
      continue;
    }
    if (pid < 0) return;
    if (!killed && Clock::now() > deadline) {
      killed = true;
      for (const auto& [left, worker] : workers_) kill(left, SIGKILL);
    }
    pollfd entry{signal_fd_, POLLIN, 0};
    poll(&entry, 1, 20);
    signalfd_siginfo info;
    while (read(signal_fd_, &info, sizeof(info)) == sizeof(info)) {
    }
  }
}

}  // namespace vesper::server
