// Connect() of runtime/address.h, and how addresses are resolved.
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
// after it, whose types it uses
#include <linux/vm_sockets.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <system_error>
#include <thread>

#include "runtime/environment.h"
#include "runtime/mutex.h"
#include "runtime/tls/handshake.h"
#include "runtime/transport/endpoint.h"

namespace vesper {
namespace transport {
namespace {

using std::chrono::milliseconds;

// One look-up of a name, shared with the thread that does it: getaddrinfo() knows no time limit.
struct LookUp {
  Mutex mutex;
  Condition ended;
  bool done VESPER_GUARDED_BY(mutex) = false;
  int status VESPER_GUARDED_BY(mutex) = EAI_AGAIN;
  std::vector<Endpoint> endpoints VESPER_GUARDED_BY(mutex);
};

int LookUpNow(const std::string& host, uint16_t port, int flags, std::vector<Endpoint>* endpoints) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* list = nullptr;
  const int status = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list);
  if (status != 0) return status;
  for (const addrinfo* each = list; each != nullptr; each = each->ai_next) {
    if (each->ai_addrlen > sizeof(sockaddr_storage)) continue;
    Endpoint& endpoint = endpoints->emplace_back();
    std::memcpy(&endpoint.name, each->ai_addr, each->ai_addrlen);
    endpoint.length = each->ai_addrlen;
  }
  ::freeaddrinfo(list);
  return endpoints->empty() ? EAI_NONAME : 0;
}

// The thread handles no signal of the process that we are a guest in.
void StartThread(std::thread* thread, const std::shared_ptr<LookUp>& shared, std::string host, uint16_t port,
                 int flags) {
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    *thread = std::thread([shared, host = std::move(host), port, flags] {
      std::vector<Endpoint> endpoints;
      const int status = LookUpNow(host, port, flags, &endpoints);
      const MutexLock lock(shared->mutex);
      shared->status = status;
      shared->endpoints = std::move(endpoints);
      shared->done = true;
      shared->ended.NotifyAll();
    });
  } catch (const std::system_error&) {
    // No thread to be had: the status stays EAI_AGAIN, and waiting ends at once.
    const MutexLock lock(shared->mutex);
    shared->done = true;
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

int LookUpName(const std::string& host, uint16_t port, int flags, const Deadline& deadline,
               std::vector<Endpoint>* endpoints) {
  if (LookUpNow(host, port, flags | AI_NUMERICHOST, endpoints) == 0) return 0;
  const auto shared = std::make_shared<LookUp>();
  std::thread thread;
  StartThread(&thread, shared, host, port, flags);
  if (thread.joinable()) thread.detach();
  const auto until = deadline.never() ? std::chrono::steady_clock::time_point::max() : deadline.at();
  const MutexLock lock(shared->mutex);
  while (!shared->done && shared->ended.WaitUntil(shared->mutex, until)) {
  }
  *endpoints = std::move(shared->endpoints);
  return shared->status;
}

// Waits for a connect() in progress; 0 or an errno.
int FinishConnect(int fd, const Deadline& deadline) {
  for (;;) {
    pollfd entry{fd, POLLOUT, 0};
    const int ready = ::poll(&entry, 1, deadline.PollMilliseconds());
    if (ready > 0) break;
    if (ready < 0 && errno != EINTR) return errno;
    if (ready == 0 && deadline.passed()) return ETIMEDOUT;
  }
  int error = 0;
  socklen_t length = sizeof(error);
  return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 ? error : errno;
}

// A connection from a port to itself, which Linux makes when nobody listens on a port that it then
// picks for us.
bool ConnectedToItself(int fd) {
  Endpoint here, there;
  here.length = there.length = sizeof(sockaddr_storage);
  return ::getsockname(fd, reinterpret_cast<sockaddr*>(&here.name), &here.length) == 0 &&
         ::getpeername(fd, reinterpret_cast<sockaddr*>(&there.name), &there.length) == 0 &&
         here.name.ss_family != AF_UNIX && here.length == there.length &&
         std::memcmp(&here.name, &there.name, here.length) == 0;
}

int ConnectSocket(int fd, const Endpoint& endpoint, const Deadline& deadline) {
  for (;;) {
    if (::connect(fd, endpoint.address(), endpoint.length) == 0) return 0;
    if (errno == EINPROGRESS || errno == EINTR) return FinishConnect(fd, deadline);
    if (errno != EAGAIN) return errno;
    // A Unix socket whose queue of connections is full: there is nothing to poll for.
    if (deadline.passed()) return ETIMEDOUT;
    ::poll(nullptr, 0, 5);
  }
}

// A connected socket, or -1 with errno's value in `error`.
int ConnectTo(const Endpoint& endpoint, const Deadline& deadline, int* error) {
  const int fd = ::socket(endpoint.name.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) {
    *error = errno;
    return -1;
  }
  *error = ConnectSocket(fd, endpoint, deadline);
  if (*error == 0 && ConnectedToItself(fd)) *error = ECONNREFUSED;
  if (*error == 0) return fd;
  ::close(fd);
  return -1;
}

}  // namespace

std::string SystemError(int error) { return std::generic_category().message(error); }

std::string DefaultDirectory() {
  const std::string path = DefaultUnixAddress().path;
  return path.substr(0, path.rfind('/'));
}

std::string DistrustOf(const std::string& directory) {
  struct stat status;
  if (::lstat(directory.c_str(), &status) != 0) return directory + ": " + SystemError(errno);
  if (!S_ISDIR(status.st_mode)) return directory + " is no directory";
  if (status.st_uid != ::geteuid() && status.st_uid != 0) {
    return directory + " belongs to another user (" + std::to_string(status.st_uid) + "), who could pose as the server";
  }
  return {};
}

std::vector<Endpoint> Resolve(const Address& address, bool passive, const Deadline& deadline, std::string* error) {
  std::vector<Endpoint> endpoints;
  if (address.kind == Address::Kind::kVsock) {
    sockaddr_vm name{};
    name.svm_family = AF_VSOCK;
    name.svm_cid = address.cid;
    name.svm_port = passive && address.port == 0 ? VMADDR_PORT_ANY : address.port;
    Endpoint& endpoint = endpoints.emplace_back();
    std::memcpy(&endpoint.name, &name, sizeof(name));
    endpoint.length = sizeof(name);
    return endpoints;
  }
  if (address.kind != Address::Kind::kUnix) {
    const int flags = passive ? AI_PASSIVE : 0;
    const int status = LookUpName(address.host, static_cast<uint16_t>(address.port), flags, deadline, &endpoints);
    if (status != 0) *error = "cannot look up \"" + address.host + "\": " + ::gai_strerror(status);
    return endpoints;
  }
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (address.path.empty() || address.path.size() >= sizeof(name.sun_path)) {
    *error = address.ToString() + " is no path that a Unix socket can have";
    return endpoints;
  }
  std::memcpy(name.sun_path, address.path.data(), address.path.size());
  Endpoint& endpoint = endpoints.emplace_back();
  std::memcpy(&endpoint.name, &name, sizeof(name));
  endpoint.length = sizeof(name);
  return endpoints;
}

// What the address does not say, the environment does.
tls::Identity IdentityFor(const Address& address) {
  const auto or_else = [](const std::string& said, const char* name) {
    const char* value = said.empty() ? Setting(name) : nullptr;
    return value == nullptr ? said : std::string(value);
  };
  tls::Identity identity;
  identity.token = or_else(address.token, "VESPER_TOKEN");
  identity.fingerprint = or_else(address.fingerprint, "VESPER_FINGERPRINT");
  identity.authority_file = or_else({}, "VESPER_CA");
  identity.certificate_file = or_else({}, "VESPER_CERTIFICATE");
  identity.key_file = or_else({}, "VESPER_KEY");
  return identity;
}

// A connected socket for any of the address's endpoints, or -1 with a sentence. `refused`: nobody listens there.
int ConnectToAny(const Address& address, const Deadline& deadline, bool* refused, std::string* error) {
  const auto endpoints = Resolve(address, false, deadline, error);
  int reason = 0;
  for (size_t i = 0; i < endpoints.size(); ++i) {
    // What is left of the time is shared out among the addresses not tried yet.
    const int left = deadline.RestMilliseconds();
    const int share = left < 0 ? left : left / static_cast<int>(endpoints.size() - i);
    const int fd = ConnectTo(endpoints[i], Deadline(milliseconds(share), deadline.cancellation()), &reason);
    if (fd >= 0) return fd;
  }
  *refused = reason == ECONNREFUSED;
  if (!endpoints.empty()) *error = "cannot connect to " + address.ToString() + ": " + SystemError(reason);
  return -1;
}

// The TLS handshake, where the address asks for one. False with a sentence.
bool Secure(int fd, const Address& address, const tls::Identity& identity, const Deadline& deadline,
            tls::Secrets* secrets, std::string* error) {
  *secrets = {};
  if (address.kind != Address::Kind::kTls) return true;
  return tls::ConnectSecurely(fd, address.host, identity, deadline, secrets, error);
}

// The same connection once more, for a session that goes on. Variables of the environment may be others by then, and the program may
// be changing them.
resume::Dial DialAgain(const Address& address, const tls::Identity& before) {
  return [address, before](uint64_t session, const Deadline& deadline, resume::Carrier* carrier, bool* refused,
                           std::string* error) {
    tls::Identity identity = before;
    identity.session = session;
    carrier->socket = Descriptor(ConnectToAny(address, deadline, refused, error));
    tls::Secrets secrets;
    if (!carrier->socket.valid() || !Secure(carrier->socket.get(), address, identity, deadline, &secrets, error)) {
      return false;
    }
    if (secrets.suite == 0) return true;
    carrier->tls = tls::Stream::Make(carrier->socket.get(), secrets, tls::End::kClient, error);
    return carrier->tls != nullptr;
  };
}

}  // namespace transport

std::unique_ptr<Channel> Connect(const Address& address, int timeout_ms, std::string* error) {
  using transport::Deadline;
  const Deadline deadline{std::chrono::milliseconds(timeout_ms)};
  if (address.kind == Address::Kind::kGuest) return transport::ConnectGuest(address, deadline, error);
  if (address.kind == Address::Kind::kUnix && address.path == DefaultUnixAddress().path) {
    if (std::string why = transport::DistrustOf(transport::DefaultDirectory()); !why.empty()) {
      *error = "cannot connect to " + address.ToString() + ": " + why;
      return nullptr;
    }
  }
  bool refused = false;
  const int fd = transport::ConnectToAny(address, deadline, &refused, error);
  if (fd < 0) return nullptr;
  tls::Secrets secrets;
  std::string why = "no file descriptor is left";
  std::unique_ptr<Channel> channel;
  const tls::Identity identity = transport::IdentityFor(address);
  if (transport::Secure(fd, address, identity, deadline, &secrets, &why)) {
    channel = transport::MakeClientChannel(fd, secrets, transport::DialAgain(address, identity), &why);
  } else {
    ::close(fd);
  }
  if (channel == nullptr) *error = "cannot use the connection to " + address.ToString() + ": " + why;
  return channel;
}

}  // namespace vesper
