#include "server/process/crew.h"

#include <fmt/core.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <set>
#include <thread>
#include <utility>

#include "server/base/limits.h"
#include "server/base/log.h"
#include "server/process/worker_line.h"

namespace vesper::server {
namespace {

size_t MaxStarting() {
  return std::clamp<size_t>(std::thread::hardware_concurrency(), limits::kLeastStarting, limits::kMostStarting);
}

size_t ResidentBytes(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/statm", pid));
  size_t all = 0, resident = 0;
  return file >> all >> resident ? resident * static_cast<size_t>(sysconf(_SC_PAGESIZE)) : 0;
}

}  // namespace

std::string Cause(int status) {
  if (WIFEXITED(status)) return fmt::format("exit status {}", WEXITSTATUS(status));
  if (WIFSIGNALED(status)) return fmt::format("signal {} ({})", WTERMSIG(status), strsignal(WTERMSIG(status)));
  return fmt::format("status {:#x}", status);
}

Crew::Crew(const Limits& limits, Spawn spawn) : limits_(limits), spawn_(std::move(spawn)) {}

Crew::~Crew() {
  for (auto& [pid, worker] : workers_) CloseLine(&worker);
}

void Crew::CloseLine(Worker* worker) {
  if (worker->line >= 0) close(worker->line);
  worker->line = -1;
}

size_t Crew::Count(State state) const {
  const auto is_so = [state](const auto& entry) { return entry.second.state == state; };
  return static_cast<size_t>(std::count_if(workers_.begin(), workers_.end(), is_so));
}

// Workers that fail are started again only while clients wait.
void Crew::Refill(size_t waiting) {
  if (failures_ != 0 && (waiting == 0 || Clock::now() - failed_at_ < limits::kStartAgainAfter)) return;
  const size_t admitted = std::min(waiting, limits_.clients - std::min(limits_.clients, sessions_));
  const size_t wanted = admitted + limits_.spares;
  const size_t failures = failures_;
  const bool begins = waiting == 0 && Count(State::kReady) != 0 && Clock::now() - served_ < limits::kRefillAfter;
  refills_later_ = begins && Count(State::kReady) + Count(State::kStarting) < wanted;
  if (begins) return;
  for (size_t starting = Count(State::kStarting), ready = Count(State::kReady);
       starting + ready < wanted && starting < MaxStarting() && failures_ == failures; ++starting) {
    Start();
    if (failures_ != 0) return;  // after a failure they are started one at a time, until one is ready
  }
}

void Crew::Start() {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return Fail(std::strerror(errno));
  const uint32_t place = FreePlace();
  const pid_t pid = spawn_(pair[1], place);
  const int error = errno;
  close(pair[1]);
  if (pid > 0) {
    workers_[pid].line = pair[0];
    workers_[pid].place = place;
    return;
  }
  close(pair[0]);
  Fail(std::strerror(error));
}

uint32_t Crew::FreePlace() const {
  std::vector<bool> taken(workers_.size() + 1);
  for (const auto& [pid, worker] : workers_) {
    if (worker.place < taken.size()) taken[worker.place] = true;
  }
  return static_cast<uint32_t>(std::find(taken.begin(), taken.end(), false) - taken.begin());
}

void Crew::Fail(const std::string& reason) {
  failed_at_ = Clock::now();
  if (++failures_ < limits::kMaxStartFailures) return;
  failure_ = "no worker can be started: " + reason;
  Log(LogLevel::kError, "{}", failure_);
}

std::string Crew::TakeFailure() { return std::exchange(failure_, {}); }

bool Crew::CanServe() const { return !full() && Count(State::kReady) != 0; }

size_t Crew::sessions_of(std::string_view name) const {
  const auto is_so = [name](const auto& entry) {
    return entry.second.state == State::kServing && entry.second.who == name;
  };
  return static_cast<size_t>(std::count_if(workers_.begin(), workers_.end(), is_so));
}

size_t Crew::sessions_of_guest(uint32_t guest) const {
  const auto is_so = [guest](const auto& entry) { return entry.second.guest == guest; };
  return static_cast<size_t>(std::count_if(workers_.begin(), workers_.end(), is_so));
}

void Crew::EndUnless(const std::function<bool(std::string_view name)>& may_stay) {
  for (auto& [pid, worker] : workers_) {
    if (worker.state != State::kServing || worker.who.empty() || may_stay(worker.who)) continue;
    Log(LogLevel::kWarning, "session {} is ended: {} may not use this server any more", worker.session, worker.who);
    EndNow(pid, &worker);
  }
}

std::vector<tls::CertificateId> Crew::certificates() const {
  std::set<tls::CertificateId> all;
  for (const auto& [pid, worker] : workers_) {
    if (worker.state == State::kServing) all.insert(worker.certificate);
  }
  all.erase(tls::CertificateId{});
  return {all.begin(), all.end()};
}

void Crew::EndRevoked(const tls::CertificateId& certificate) {
  for (auto& [pid, worker] : workers_) {
    if (worker.state != State::kServing || worker.to_end || worker.certificate != certificate) continue;
    if (certificate == tls::CertificateId{}) continue;
    Log(LogLevel::kWarning, "session {} is ended: the {} is revoked", worker.session, worker.who);
    EndNow(pid, &worker);
  }
}

void Crew::EndNow(pid_t pid, Worker* worker) {
  worker->to_end = true;
  kill(pid, SIGKILL);
}

Crew::Clock::duration Crew::BrokenFor(const Worker& worker) {
  if (worker.state != State::kServing || worker.account.broken_nanoseconds == 0) return {};
  return std::chrono::nanoseconds(worker.account.broken_nanoseconds) + (Clock::now() - worker.told);
}

void Crew::MakeWay() {
  MakeWayAmong([](const Worker& worker) { return worker.state == State::kServing; });
}

// A worker that was taken over may say what it likes of its connection; it would be the one to end.
void Crew::MakeWayAmong(const std::function<bool(const Worker&)>& counts) {
  std::pair<const pid_t, Worker>* oldest = nullptr;
  for (auto& entry : workers_) {
    if (!counts(entry.second)) continue;
    if (entry.second.to_end) return;
    const auto broken = BrokenFor(entry.second);
    if (broken >= limits::kMakesWayAfter && (oldest == nullptr || broken > BrokenFor(oldest->second))) oldest = &entry;
  }
  if (oldest == nullptr) return;
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(BrokenFor(oldest->second));
  Log(LogLevel::kWarning, "session {} is ended: its connection broke {} s ago, and others wait for its place",
      oldest->second.session, seconds.count());
  EndNow(oldest->first, &oldest->second);
}

bool Crew::End(uint64_t session) {
  for (auto& [pid, worker] : workers_) {
    if (worker.state != State::kServing || worker.session != session) continue;
    Log(LogLevel::kWarning, "session {} is ended by order", session);
    EndNow(pid, &worker);
    return true;
  }
  return false;
}

void Crew::View(ServerView* view) const {
  for (const auto& [pid, worker] : workers_) {
    if (worker.state != State::kServing) continue;
    const std::chrono::duration<double> age = Clock::now() - worker.since;
    view->sessions.push_back({worker.session, worker.who, worker.program, pid, worker.device == Device::kHeld,
                              age.count(), ResidentBytes(pid), std::chrono::duration<double>(BrokenFor(worker)).count(),
                              worker.account});
  }
  std::sort(view->sessions.begin(), view->sessions.end(),
            [](const SessionView& a, const SessionView& b) { return a.number < b.number; });
  view->served = numbers_;
  view->faults = faults_;
  view->ended = ended_;
}

bool Crew::Serve(int socket, const Admission& admission, Descriptor area) {
  const auto found = std::find_if(workers_.begin(), workers_.end(),
                                  [](const auto& entry) { return entry.second.state == State::kReady; });
  if (found == workers_.end()) return false;
  Worker& worker = found->second;
  worker.session = ++numbers_;
  const bool placed = !area.valid() || SendOrder(worker.line, {Order::kArea, worker.session, {}}, area.get());
  if (!placed || !SendOrder(worker.line, {Order::kSession, worker.session, admission}, socket)) {
    worker.state = State::kFailed;
    return false;
  }
  worker.state = State::kServing;
  worker.guest = admission.guest;
  if (!admission.venus) worker.area = std::move(area);
  worker.who = admission.name();
  worker.owner = PipelineOwner(worker.who, socket);
  worker.certificate = admission.certificate;
  worker.program = admission.program.data();
  worker.since = served_ = Clock::now();
  ++sessions_;
  Log(LogLevel::kDebug, "session {}: worker {}", worker.session, found->first);
  if (!worker.who.empty()) Log(LogLevel::kInfo, "session {} is that of {}", worker.session, worker.who);
  return true;
}

// That it is the session's own client it must prove to the worker. Nobody learns here which sessions there are.
bool Crew::Resume(int socket, const Admission& admission, std::string* why) {
  *why = "the session has ended";
  for (auto& [pid, worker] : workers_) {
    if (worker.state != State::kServing || worker.session != admission.resumes) continue;
    if (worker.guest != 0 || worker.to_end || worker.who != admission.name()) return false;
    return SendOrder(worker.line, {Order::kResume, worker.session, admission}, socket);
  }
  return false;
}

void Crew::AddTo(std::vector<pollfd>* entries) const {
  for (const auto& [pid, worker] : workers_) {
    if (worker.line >= 0) entries->push_back({worker.line, POLLIN, 0});
  }
}

void Crew::ReadReports() {
  for (auto& [pid, worker] : workers_) Handle(pid, &worker);
}

void Crew::Handle(pid_t pid, Worker* worker) {
  Report report;
  std::string text;
  Descriptor file;
  // A client may have taken the worker over: reports of it may be false, and as many as it likes.
  for (int i = 0; i < limits::kMaxWorkerReports && worker->line >= 0; ++i) {
    const LineStatus status = ReceiveReport(worker->line, &report, &text, &file);
    if (status == LineStatus::kNothing) return;
    if (status == LineStatus::kEnded) return CloseLine(worker);  // the end of the process is seen by waitpid()
    switch (report) {
      case Report::kReady:
        if (worker->state == State::kStarting) worker->state = State::kReady;
        failures_ = 0;
        break;
      case Report::kFailed:
        if (worker->state == State::kServing) break;  // the worker tells its client by itself
        worker->state = State::kFailed;
        Log(LogLevel::kError, "worker {} cannot serve: {}", pid, text);
        Fail(text);
        break;
      case Report::kWantsDevice:
        if (worker->state != State::kServing || worker->device != Device::kNone) break;
        worker->device = Device::kWanted;
        worker->wanted = ++wishes_;
        worker->wanted_since = Clock::now();
        GrantDevices();
        break;
      case Report::kGaveDeviceUp:
        DropDevice(worker);
        break;
      case Report::kAccount:
        if (text.size() != sizeof(worker->account)) break;
        std::memcpy(&worker->account, text.data(), text.size());
        worker->told = Clock::now();
        break;
      case Report::kWantsPipelines:
      case Report::kPipelines:
        HandlePipelines(worker, report, text, file);
        break;
    }
  }
}

void Crew::HandlePipelines(Worker* worker, Report report, std::string_view text, const Descriptor& file) {
  PipelineKey key;
  if (worker->state != State::kServing || text.size() != sizeof(key)) return;
  std::memcpy(&key, text.data(), sizeof(key));
  if (report == Report::kWantsPipelines) {
    const Descriptor kept = pipelines_ == nullptr ? Descriptor() : pipelines_->Find(worker->owner, key);
    SendOrder(worker->line, {Order::kPipelines, worker->session, {}}, kept.valid() ? kept.get() : -1);
  } else if (pipelines_ != nullptr && ++worker->kept <= limits::kMaxKeptOfSession) {
    pipelines_->Keep(worker->owner, key, file);
  }
}

void Crew::GrantDevices() {
  while (devices_ < limits_.devices) {
    Worker* next = nullptr;
    for (auto& [pid, worker] : workers_) {
      if (worker.device == Device::kWanted && (next == nullptr || worker.wanted < next->wanted)) next = &worker;
    }
    if (next == nullptr) return;
    next->device = Device::kHeld;
    ++devices_;
    SendOrder(next->line, {Order::kDeviceGranted, next->session, {}});
  }
}

void Crew::DropDevice(Worker* worker) {
  const bool held = worker->device == Device::kHeld;
  worker->device = Device::kNone;
  if (!held) return;
  --devices_;
  GrantDevices();
}

bool Crew::Tick() {
  bool waited = false;
  for (auto& [pid, worker] : workers_) {
    if (worker.device != Device::kWanted) continue;
    if (Clock::now() - worker.wanted_since < limits_.wait) {
      waited = true;
      continue;
    }
    worker.device = Device::kNone;
    Log(LogLevel::kWarning, "session {} gets no device: {} sessions have one (--max-sessions)", worker.session,
        devices_);
    SendOrder(worker.line, {Order::kDeviceDenied, worker.session, {}});
  }
  if (waited) MakeWayAmong([](const Worker& worker) { return worker.device == Device::kHeld; });
  return waited || refills_later_;
}

bool Crew::Ended(pid_t pid, int status) {
  const auto found = workers_.find(pid);
  if (found == workers_.end()) return false;
  Handle(pid, &found->second);  // reports that are not read yet
  CloseLine(&found->second);
  DropDevice(&found->second);
  Worker worker = std::move(found->second);
  workers_.erase(found);
  if (status != 0 && worker.area.valid()) left_.push_back({worker.guest, std::move(worker.area)});
  if (worker.state == State::kServing) {
    --sessions_;
    ended_ += worker.account;
    const bool known = WIFEXITED(status) && WEXITSTATUS(status) == kMemoryInUse && worker.guest != 0;
    const bool fault = status != 0 && !known && !worker.to_end;
    if (fault) ++faults_;
    const auto level = fault ? LogLevel::kError : LogLevel::kInfo;
    Log(level, "session {}: worker {} ended with {}", worker.session, pid, Cause(status));
    return true;
  }
  Log(LogLevel::kError, "the spare worker {} ended with {}", pid, Cause(status));
  // One that reported kFailed has been counted then.
  if (worker.state == State::kStarting) Fail("a worker ended with " + Cause(status));
  return true;
}

void Crew::EndAll(int signal_fd) {
  for (const auto& [pid, worker] : workers_) kill(pid, SIGTERM);
  const auto deadline = Clock::now() + limits::kCrewPatience;
  bool killed = false;
  while (!workers_.empty()) {
    int status = 0;
    const pid_t pid = waitpid(-1, &status, WNOHANG);
    if (pid > 0) {
      const auto found = workers_.find(pid);
      if (found == workers_.end()) continue;
      CloseLine(&found->second);
      workers_.erase(found);
      continue;
    }
    if (pid < 0) return;
    if (!killed && Clock::now() > deadline) {
      killed = true;
      for (const auto& [left, worker] : workers_) kill(left, SIGKILL);
    }
    pollfd entry{signal_fd, POLLIN, 0};
    poll(&entry, 1, limits::kCrewLook.count());
    signalfd_siginfo info;
    while (read(signal_fd, &info, sizeof(info)) == sizeof(info)) {
    }
  }
}

}  // namespace vesper::server
