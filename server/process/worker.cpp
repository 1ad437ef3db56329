#include "server/process/worker.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
#endif

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "runtime/address.h"
#include "runtime/area.h"
#include "runtime/mutex.h"
#include "runtime/tls/openssl.h"
#include "server/agent/agent_port.h"
#include "server/base/last_words.h"
#include "server/base/limits.h"
#include "server/base/log.h"
#include "server/desk/account.h"
#include "server/device/gpu_time.h"
#include "server/device/shaders.h"
#include "server/process/peer_watch.h"
#include "server/process/worker_line.h"
#include "server/sandbox/sandbox.h"
#include "server/session/session.h"
#include "server/venus/venus_channel.h"

namespace vesper::server {
namespace {

// Allocations beyond it fail, those of the driver as well.
void LimitMemory(uint32_t mebibytes) {
  if (mebibytes == 0) return;
  const rlim_t bytes = rlim_t{mebibytes} << 20;
  const rlimit limit{bytes, bytes};
  if (setrlimit(RLIMIT_DATA, &limit) != 0) {
    Log(LogLevel::kError, "--max-memory has no effect: {}", std::strerror(errno));
  }
}

// Tells a thread to end which otherwise acts at intervals. That thread calls SleepUntil(), its owner End().
class Alarm {
 public:
  // False when it is to end.
  bool SleepUntil(std::chrono::steady_clock::time_point time) {
    const MutexLock lock(mutex_);
    while (!ended_) {
      if (!changed_.WaitUntil(mutex_, time)) return !ended_;
    }
    return false;
  }
  void End() {
    const MutexLock lock(mutex_);
    ended_ = true;
    changed_.NotifyAll();
  }

 private:
  Mutex mutex_;
  Condition changed_;
  bool ended_ VESPER_GUARDED_BY(mutex_) = false;
};

// Calls `act` on a thread of its own after `patience`, unless it is destroyed before. The destructor waits for `act`.
class Timer {
 public:
  Timer(std::chrono::seconds patience, std::function<void()> act)
      : thread_([this, patience, act = std::move(act)] {
          if (alarm_.SleepUntil(std::chrono::steady_clock::now() + patience)) act();
        }) {}
  ~Timer() {
    alarm_.End();
    thread_.join();
  }

 private:
  Alarm alarm_;
  std::thread thread_;
};

constexpr int kStrangerLines = 8;  // about others who say that they are the client

// What the supervisor says while the session lasts, heard by a thread of its own from Begin() to End(): whether the session may have
// a device, what is kept of its client's pipelines, and who says that it is the client come again. The channel lives as long as that thread, at least.
class Orders final : public DeviceSlot, public PipelineShelf {
 public:
  Orders(int line, Channel* channel) : line_(line), channel_(channel), stop_(eventfd(0, EFD_CLOEXEC)) {}

  void Begin() {
    thread_ = std::thread([this] { Hear(); });
  }
  void End() {
    eventfd_write(stop_.get(), 1);
    thread_.join();
  }

  // Asks the supervisor, which counts the devices of all sessions. The session's reader calls it.
  bool Take() override {
    const MutexLock lock(mutex_);
    answer_.reset();
    if (!SendReport(line_, Report::kWantsDevice)) return false;
    while (!answer_ && !channel_->PeerEnded()) answered_.WaitUntil(mutex_, Clock::now() + limits::kAccountLook);
    if (answer_ == Order::kDeviceGranted) return true;
    // The client has gone, but the supervisor may be granting the device just now.
    SendReport(line_, Report::kGaveDeviceUp);
    return false;
  }
  void GiveBack() override { SendReport(line_, Report::kGaveDeviceUp); }

  Descriptor Fetch(const PipelineKey& key) override {
    const MutexLock fetching(fetching_);
    const MutexLock lock(mutex_);
    pipelines_.reset();
    if (!SendReport(line_, Report::kWantsPipelines, TextOf(key))) return {};
    while (!pipelines_ && !channel_->PeerEnded()) answered_.WaitUntil(mutex_, Clock::now() + limits::kAccountLook);
    return pipelines_ ? std::exchange(*pipelines_, {}) : Descriptor();
  }
  void Keep(const PipelineKey& key, const Descriptor& file) override {
    SendReport(line_, Report::kPipelines, TextOf(key), file.valid() ? file.get() : -1);
  }

 private:
  using Clock = std::chrono::steady_clock;

  static std::string_view TextOf(const PipelineKey& key) { return {reinterpret_cast<const char*>(&key), sizeof(key)}; }

  void Hear() {
    pollfd entries[] = {{line_, POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    for (;;) {
      if (poll(entries, 2, -1) < 0 && errno != EINTR) return;
      if (entries[1].revents != 0) return;
      OrderMessage order;
      int socket = -1;
      const LineStatus status = ReceiveOrder(line_, 0, &order, &socket);
      Descriptor came(socket);
      if (status == LineStatus::kEnded) return;
      if (status != LineStatus::kMessage) continue;
      if (order.order == Order::kResume) {
        Resume(std::move(came), &order.admission);
        continue;
      }
      const MutexLock lock(mutex_);
      if (order.order == Order::kPipelines) {
        pipelines_ = std::move(came);
      } else if (order.order == Order::kDeviceGranted || order.order == Order::kDeviceDenied) {
        answer_ = order.order;
      }
      answered_.NotifyAll();
    }
  }
  void Resume(Descriptor socket, Admission* admission) {
    std::string error;
    if (channel_->Reconnect(std::move(socket), admission->secrets, &error)) {
      Log(LogLevel::kInfo, "session {} goes on over another connection", admission->resumes);
    } else if (++strangers_ <= kStrangerLines) {
      Log(LogLevel::kWarning, "session {} does not go on over a connection that came: {}", admission->resumes, error);
    }
    explicit_bzero(&admission->secrets, sizeof(admission->secrets));
  }

  const int line_;
  Channel* const channel_;
  const Descriptor stop_;
  int strangers_ = 0;  // who were not its client
  Mutex mutex_;
  Condition answered_;
  std::optional<Order> answer_ VESPER_GUARDED_BY(mutex_);
  Mutex fetching_;  // held by one asker at a time, outside of the other
  std::optional<Descriptor> pipelines_ VESPER_GUARDED_BY(mutex_);
  std::thread thread_;
};

class Hearing {
 public:
  explicit Hearing(Orders* orders) : orders_(orders) { orders_->Begin(); }
  ~Hearing() { orders_->End(); }
  Hearing(const Hearing&) = delete;
  Hearing& operator=(const Hearing&) = delete;

 private:
  Orders* const orders_;
};

// Regularly tells the supervisor what the session has used, and ends the session when that is too much. Has a thread of its own,
// which alone touches what changes; session and channel live longer.
class Accountant {
 public:
  struct Limits {
    std::chrono::seconds gpu{0}, idle{0};  // zero: none
  };
  Accountant(int line, Session* session, Channel* channel, const Limits& limits)
      : line_(line), session_(session), channel_(channel), limits_(limits), thread_([this] { Run(); }) {}
  ~Accountant() {
    alarm_.End();
    thread_.join();
    Tell();
  }

 private:
  using Clock = std::chrono::steady_clock;

  void Run() {
    int looks = 0;
    while (alarm_.SleepUntil(std::chrono::steady_clock::now() + limits::kAccountLook)) {
      channel_->CheckLine();
      // That its client is waited for is told at once: others may wait for the place.
      const bool turned = channel_->broken() != (broken_since_ != Clock::time_point{});
      if (turned) broken_since_ = channel_->broken() ? Clock::now() : Clock::time_point{};
      if (++looks % limits::kAccountLooksOfReport == 1 || turned) Tell();
      Judge();
    }
  }
  void Tell() {
    const SessionStats& stats = session_->stats();
    const auto broken = broken_since_ == Clock::time_point{} ? Clock::duration{0} : Clock::now() - broken_since_;
    const Account account{channel_->bytes_received(),
                          channel_->bytes_sent(),
                          stats.messages,
                          stats.commands,
                          stats.replies,
                          GpuNanoseconds(),
                          channel_->unpacked_bytes_received(),
                          channel_->unpacked_bytes_sent(),
                          session_->memories().written_bytes(),
                          session_->memories().changed_bytes(),
                          session_->memories().compared_bytes(),
                          channel_->resumptions(),
                          static_cast<uint64_t>(std::chrono::nanoseconds(broken).count())};
    SendReport(line_, Report::kAccount, {reinterpret_cast<const char*>(&account), sizeof(account)});
  }
  void Judge() {
    const auto now = std::chrono::steady_clock::now();
    if (LongestShaderCheck() > limits::kShaderPatience) {
      End(fmt::format("a shader has been validated for more than {} s", limits::kShaderPatience.count()));
      // Whoever validates it may be the session's reader, which hears of nothing meanwhile.
      if (LongestShaderCheck() > limits::kShaderPatience + limits::kEndPatience) _exit(0);
    }
    if (const uint64_t messages = session_->stats().messages; messages != messages_ || LongestGpuRun().count() != 0) {
      messages_ = messages;
      busy_ = now;
    }
    if (limits_.gpu.count() != 0 && LongestGpuRun() > limits_.gpu) {
      End(fmt::format("a submit has kept its queue for more than {} s (--max-gpu-time)", limits_.gpu.count()));
    } else if (limits_.idle.count() != 0 && now - busy_ > limits_.idle) {
      End(fmt::format("it has said nothing for more than {} s (--max-idle)", limits_.idle.count()));
    }
  }
  void End(const std::string& why) {
    if (std::exchange(ended_, true)) return;
    const std::string words = "over its limits: " + why;
    Log(LogLevel::kError, "the session is ended, {}", words);
    const std::span<const uint8_t> part(reinterpret_cast<const uint8_t*>(words.data()), words.size());
    if (channel_->SendsAtOnce(words.size())) channel_->Send(MessageKind::kGoodbye, 0, {&part, 1});
    session_->Stop();
  }

  const int line_;
  Session* const session_;
  Channel* const channel_;
  const Limits limits_;
  uint64_t messages_ = 0;
  std::chrono::steady_clock::time_point busy_ = std::chrono::steady_clock::now();
  Clock::time_point broken_since_{};  // the epoch: the connection is whole
  bool ended_ = false;
  Alarm alarm_;
  std::thread thread_;
};

// The smaller of two limits, where 0 is none.
uint32_t Stricter(uint32_t one, uint32_t other) {
  return one == 0 || other == 0 ? std::max(one, other) : std::min(one, other);
}

std::unique_ptr<Channel> MakeChannel(int socket, const Admission& admission, const SessionLimits& limits,
                                     std::string* error) {
  if (admission.venus) {
    return std::make_unique<venus::VenusChannel>(socket,
                                                 venus::VenusChannel::Options{limits.objects, limits.command_bytes});
  }
  if (admission.secured()) return MakeTlsChannel(socket, admission.secrets, tls::End::kServer, error);
  return MakeSocketChannel(socket);
}

// With what the client's token says.
SessionLimits LimitsOf(const ServerOptions& options, const Admission& admission) {
  SessionLimits limits = options.limits();
  if (admission.queued_mib == 0) return limits;
  const size_t bytes = size_t{admission.queued_mib} << 20;
  limits.queued_bytes = std::min(limits.queued_bytes, bytes);
  limits.unread_bytes = std::min(limits.unread_bytes, bytes);
  return limits;
}

// Of a program of a guest, or of its vesper-agent, which then lives longer than the session.
std::unique_ptr<Channel> MakeChannelOfGuest(int port, Descriptor memory, const SessionLimits& limits,
                                            SharedBudget* budget, std::unique_ptr<AgentPort>* agent,
                                            std::string* error) {
  if (agent == nullptr) {
    std::shared_ptr<Area> area = Area::OfHost(std::move(memory));
    if (area != nullptr) budget->UseArea(area);
    return MakeGuestChannel(port, std::move(area));
  }
  if (!memory.valid()) *error = "vesper-agent has no memory here: --guest NAME,venus=MIB";
  *agent = AgentPort::Make(Descriptor(port), std::move(memory));
  if (*agent == nullptr) return nullptr;
  budget->UseSource(agent->get());
  return std::make_unique<venus::VenusChannel>(agent->get(),
                                               venus::VenusChannel::Options{limits.objects, limits.command_bytes});
}

// Returns a timer that ends the process in case work that the client left keeps the driver busy for ever.
std::unique_ptr<Timer> Serve(Session* session, int socket, uint64_t number, int line, Channel* channel,
                             const Accountant::Limits& limits) {
  std::string error;
  bool greeted;
  {
    const Timer timer(limits::kGreetingPatience, [&] { session->Stop(); });
    greeted = session->Greet(&error);
  }
  if (greeted) {
    SetLastListener(socket, LastKind::kGoodbye);
    const Accountant accountant(line, session, channel, limits);
    const std::string reason = session->Run();
    LimitLog({limits::kLastLogLines, limits::kLastLogBytes});
    Log(LogLevel::kInfo, "session {} ended: {}", number, reason);
    Log(LogLevel::kInfo, "{}", session->Summary());
  } else {
    Log(LogLevel::kWarning, "session {} did not begin: {}", number, error);
  }
  return std::make_unique<Timer>(limits::kEndPatience, [] { _exit(0); });
}

// Confined, with the driver in memory; nullptr after saying what is in the way.
std::unique_ptr<Driver> GetReady(const ServerOptions& options) {
  std::string error;
  const auto failed = [&](const std::string& why) {
    SendReport(options.worker_fd, Report::kFailed, why);
    return nullptr;
  };
  const Sandbox sandbox = SandboxOf(options.sandbox).value_or(Sandbox::kOff);
  if (!EnterSandbox(sandbox, options.worker_uid, options.worker_fd, &error)) {
    return failed("it cannot be confined: " + error);
  }
  LimitMemory(options.max_memory);
  PrepareDriverEnvironment();
  if (options.tls && tls::Open(&error) == nullptr) Log(LogLevel::kError, "{}", error);
  error.clear();
  std::unique_ptr<Driver> driver = Driver::Load(options.driver(), &error);
  if (driver == nullptr) return failed(error);
  // Brings the drivers into memory ahead of the client, whose instance is then made quickly.
  driver->KeepLoaded();
  if (!SealSandbox(sandbox, &error)) {
    return failed("it cannot be confined: " + error);
  }
  SendReport(options.worker_fd, Report::kReady);
  return driver;
}

// Ends the process without the exit handlers of libraries: drivers have threads that still work on what the client left, compile
// for one, and would do it with what those handlers take away.
[[noreturn]] void EndWorker() {
#if defined(__SANITIZE_ADDRESS__)
  if (__lsan_do_recoverable_leak_check() != 0) _exit(1);
#endif
  _exit(0);
}

}  // namespace

int RunWorker(const ServerOptions& options) {
  prctl(PR_SET_NAME, "vesper-worker");
  LeaveLastWords();
  const std::unique_ptr<Driver> driver = GetReady(options);
  if (driver == nullptr) return 1;
  std::string error;
  OrderMessage order;
  int socket = -1;
  if (ReceiveOrder(options.worker_fd, -1, &order, &socket) != LineStatus::kMessage || socket < 0) return 0;
  Descriptor memory;  // of the client's guest
  if (order.order == Order::kArea) {
    memory = Descriptor(std::exchange(socket, -1));
    if (ReceiveOrder(options.worker_fd, -1, &order, &socket) != LineStatus::kMessage || socket < 0) return 0;
  }
  const bool in_guest = order.admission.guest != 0;
  // Under TLS the last words would have to be encrypted, which a crashing process does not do: the client sees only the end.
  // Mesa's driver would take them for an answer.
  const int listener = order.admission.secured() || order.admission.venus ? -1 : socket;
  SetLastListener(listener, LastKind::kRefused);
  LimitLog({limits::kSessionLogLines, limits::kSessionLogBytes});
  if (order.admission.memory_mib != 0) LimitMemory(Stricter(options.max_memory, order.admission.memory_mib));
  std::unique_ptr<AgentPort> agent;
  std::unique_ptr<Timer> end;
  {
    std::unique_ptr<Channel> channel =
        in_guest ? MakeChannelOfGuest(socket, std::move(memory), options.limits(), &driver->shared_budget(),
                                      order.admission.venus ? &agent : nullptr, &error)
                 : MakeChannel(socket, order.admission, options.limits(), &error);
    explicit_bzero(&order.admission.secrets, sizeof(order.admission.secrets));
    if (channel == nullptr) {
      Log(LogLevel::kError, "session {} has no channel: {}", order.session,
          error.empty() ? "no file descriptor is left; raise ulimit -n" : error);
      return 1;
    }
    Channel* const its_channel = channel.get();
    Orders orders(options.worker_fd, its_channel);
    Session session(std::move(channel), driver.get(), order.session, LimitsOf(options, order.admission));
    session.set_device_slot(&orders);
    if (options.pipelines != "off") session.set_pipeline_shelf(&orders);
    const Hearing hearing(&orders);
    std::atomic<bool> gone = false;
    const auto stop = [&] {
      gone = true;
      session.Stop();
    };
    const PeerWatch watch(socket, stop);
    std::optional<PortWatch> port;
    if (in_guest) port.emplace(socket, its_channel, stop);
    end = Serve(&session, listener, order.session, options.worker_fd, its_channel,
                {std::chrono::seconds(Stricter(options.max_gpu_time, order.admission.gpu_seconds)),
                 std::chrono::seconds(Stricter(options.max_idle, order.admission.idle_seconds))});
    SetLastListener(-1, LastKind::kGoodbye);
    // A program of a guest that was not the one to end the session may still write to its memory, which must not become another's.
    const bool takes_memory = in_guest && !order.admission.venus;
    if (takes_memory && !gone && !session.orderly() && !its_channel->PeerEnded()) _exit(kMemoryInUse);
  }
  driver->LetGo();
  EndWorker();
}

}  // namespace vesper::server
