#include "server/worker.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "runtime/address.h"
#include "server/log.h"
#include "server/peer_watch.h"
#include "server/session.h"

namespace vesper::server {
namespace {

constexpr std::chrono::seconds kGreetingPatience{10};
constexpr std::chrono::seconds kEndPatience{10};

// The next message's file descriptor, or -1 when the supervisor is gone.
int ReceiveSocket(int from, uint64_t* session) {
  iovec data{session, sizeof(*session)};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ssize_t received;
  do {
    received = recvmsg(from, &message, MSG_CMSG_CLOEXEC);
  } while (received < 0 && errno == EINTR);
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (received != sizeof(*session) || header == nullptr || header->cmsg_type != SCM_RIGHTS) return -1;
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(header), sizeof(fd));
  return fd;
}

// Exceptions that nobody catches: memory is exhausted on a thread that cannot tell the client. Its session ends with this
// process, others are not touched.
[[noreturn]] void GiveUp() {
  try {
    if (const std::exception_ptr exception = std::current_exception()) std::rethrow_exception(exception);
    Log(LogLevel::kError, "the worker gives up");
  } catch (const std::exception& exception) {
    Log(LogLevel::kError, "the worker gives up: {}", exception.what());
  } catch (...) {
    Log(LogLevel::kError, "the worker gives up");
  }
  _exit(1);
}

// Beyond it allocations fail, the driver's as well.
void LimitMemory(uint32_t mebibytes) {
  if (mebibytes == 0) return;
  const rlim_t bytes = rlim_t{mebibytes} << 20;
  const rlimit limit{bytes, bytes};
  if (setrlimit(RLIMIT_DATA, &limit) != 0) {
    Log(LogLevel::kError, "--max-memory has no effect: {}", std::strerror(errno));
  }
}

// Does something when time is over, unless it is destroyed before.
class Timer {
 public:
  Timer(std::chrono::seconds patience, std::function<void()> act)
      : thread_([this, patience, act = std::move(act)] {
          std::unique_lock lock(mutex_);
          if (!changed_.wait_for(lock, patience, [this] { return done_; })) act();
        }) {}
  ~Timer() {
    {
      const std::lock_guard lock(mutex_);
      done_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  std::thread thread_;
};

// Returns a timer that ends the process if what the client left keeps the driver busy for ever.
std::unique_ptr<Timer> Serve(Session* session, uint64_t number) {
  std::string error;
  bool greeted;
  {
    const Timer timer(kGreetingPatience, [&] { session->Stop(); });
    greeted = session->Greet(&error);
  }
  if (greeted) {
    const std::string reason = session->Run();
    Log(LogLevel::kInfo, "session {} ended: {}", number, reason);
    Log(LogLevel::kInfo, "{}", session->Summary());
  } else {
    Log(LogLevel::kWarning, "session {} did not begin: {}", number, error);
  }
  return std::make_unique<Timer>(kEndPatience, [] { _exit(0); });
}

}  // namespace

int RunWorker(const ServerOptions& options) {
  prctl(PR_SET_NAME, "vesper-worker");
  std::set_terminate(GiveUp);
  LimitMemory(options.max_memory);
  PrepareDriverEnvironment();
  std::string error;
  const std::unique_ptr<Driver> driver = Driver::Load(options.driver(), &error);
  if (driver == nullptr) {
    Log(LogLevel::kError, "{}", error);
    return 1;
  }
  // Brings the drivers into memory, so that the client's instance comes at once.
  const VkInstance warm = driver->CreateBare();
  uint64_t number = 0;
  const int socket = ReceiveSocket(options.worker_fd, &number);
  if (socket < 0) return 0;
  std::unique_ptr<Timer> end;
  {
    std::unique_ptr<Channel> channel = MakeSocketChannel(socket);
    if (channel == nullptr) {
      Log(LogLevel::kError, "session {}: no file descriptor is left; raise ulimit -n", number);
      return 1;
    }
    Session session(std::move(channel), driver.get(), number, options.limits());
    const PeerWatch watch(socket, [&session] { session.Stop(); });
    end = Serve(&session, number);
  }
  driver->DestroyBare(warm);
  return 0;
}

bool HandOverSocket(int worker_fd, int socket, uint64_t session) {
  iovec data{&session, sizeof(session)};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &socket, sizeof(socket));
  return sendmsg(worker_fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof(session);
}

}  // namespace vesper::server
