// Listener of runtime/address.h.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
// after it, whose types it uses
#include <linux/vm_sockets.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "runtime/descriptor.h"
#include "runtime/transport/endpoint.h"

namespace vesper {
namespace {

using transport::Deadline;
using transport::Endpoint;
using transport::SystemError;

constexpr int kBacklog = 128;
constexpr int kSocketMode = 0600;

int OpenSocket(int family) { return ::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); }

std::string CannotListen(const Address& address, const std::string& why) {
  return "cannot listen on " + address.ToString() + ": " + why;
}

std::string MakeDefaultDirectory() {
  const std::string directory = transport::DefaultDirectory();
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
    return "cannot make " + directory + ": " + SystemError(errno);
  }
  if (std::string why = transport::DistrustOf(directory); !why.empty()) return why;
  const Descriptor fd(::open(directory.c_str(), O_DIRECTORY | O_NOFOLLOW | O_RDONLY | O_CLOEXEC));
  struct stat status;
  if (fd.get() < 0 || ::fstat(fd.get(), &status) != 0) return directory + ": " + SystemError(errno);
  if (status.st_uid != ::geteuid()) return directory + " belongs to root; remove it";
  if ((status.st_mode & 077) != 0 && ::fchmod(fd.get(), 0700) != 0) {
    return "cannot make " + directory + " private: " + SystemError(errno);
  }
  return {};
}

// Makes way for a new socket at `path`: removes one that nobody answers at. Empty, or why not.
std::string RemoveStale(const std::string& path, const Endpoint& endpoint) {
  struct stat status;
  if (::lstat(path.c_str(), &status) != 0) return errno == ENOENT ? "" : SystemError(errno);
  if (!S_ISSOCK(status.st_mode)) return "there is something else than a socket";
  const Descriptor probe(OpenSocket(AF_UNIX));
  if (probe.get() < 0) return SystemError(errno);
  if (::connect(probe.get(), endpoint.address(), endpoint.length) == 0 || errno == EAGAIN) {
    return "another server listens there; stop it, or choose another address with --listen";
  }
  if (errno != ECONNREFUSED) return SystemError(errno);
  return ::unlink(path.c_str()) == 0 || errno == ENOENT ? "" : SystemError(errno);
}

// Two servers starting at once must not both find the old socket stale and remove each other's new
// one. Best effort: a directory that cannot be opened is not locked.
void LockDirectory(const Descriptor& directory) {
  for (int i = 0; directory.get() >= 0 && i < 100; ++i) {
    if (::flock(directory.get(), LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
    ::poll(nullptr, 0, 10);
  }
}

int ListenUnix(const Address& address, const Endpoint& endpoint, std::string* error) {
  if (address.path == DefaultUnixAddress().path || address.path == DefaultAdminAddress().path) {
    if (*error = MakeDefaultDirectory(); !error->empty()) return -1;
  }
  const size_t slash = address.path.rfind('/');
  const std::string parent = slash == std::string::npos ? "." : address.path.substr(0, slash + 1);
  const Descriptor directory(::open(parent.c_str(), O_DIRECTORY | O_RDONLY | O_CLOEXEC));
  LockDirectory(directory);
  if (*error = RemoveStale(address.path, endpoint); !error->empty()) return -1;
  Descriptor fd(OpenSocket(AF_UNIX));
  // The mode of the socket becomes that of the file, less the umask, so that nobody else can
  // connect even for a moment.
  if (fd.get() < 0 || ::fchmod(fd.get(), kSocketMode) != 0 ||
      ::bind(fd.get(), endpoint.address(), endpoint.length) != 0) {
    *error = SystemError(errno);
    return -1;
  }
  if (::listen(fd.get(), kBacklog) != 0) {
    *error = SystemError(errno);
    ::unlink(address.path.c_str());
    return -1;
  }
  return fd.Release();
}

uint32_t PortOf(const sockaddr_storage& name) {
  if (name.ss_family == AF_VSOCK) return reinterpret_cast<const sockaddr_vm&>(name).svm_port;
  return ntohs(name.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(name).sin6_port
                                          : reinterpret_cast<const sockaddr_in&>(name).sin_port);
}

// On TCP or vsock.
int ListenAt(const Endpoint& endpoint, uint32_t* port, std::string* error) {
  Descriptor fd(OpenSocket(endpoint.name.ss_family));
  const int on = 1;
  Endpoint bound;
  bound.length = sizeof(bound.name);
  if (fd.get() < 0 ||
      (endpoint.name.ss_family != AF_VSOCK && ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0) ||
      ::bind(fd.get(), endpoint.address(), endpoint.length) != 0 || ::listen(fd.get(), kBacklog) != 0 ||
      ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&bound.name), &bound.length) != 0) {
    *error = SystemError(errno);
    return -1;
  }
  *port = PortOf(bound.name);
  return fd.Release();
}

// False for what is neither a Unix nor an Internet socket, nor one between virtual machines.
bool AddressOf(const Endpoint& bound, Address::Kind kind, Address* address) {
  if (bound.name.ss_family == AF_UNIX) {
    const auto& name = reinterpret_cast<const sockaddr_un&>(bound.name);
    const size_t most = bound.length - offsetof(sockaddr_un, sun_path);
    address->kind = Address::Kind::kUnix;
    address->path.assign(name.sun_path, ::strnlen(name.sun_path, most));
    return true;
  }
  if (bound.name.ss_family == AF_VSOCK) {
    address->kind = Address::Kind::kVsock;
    address->cid = reinterpret_cast<const sockaddr_vm&>(bound.name).svm_cid;
    address->port = PortOf(bound.name);
    return true;
  }
  const bool six = bound.name.ss_family == AF_INET6;
  if (!six && bound.name.ss_family != AF_INET) return false;
  const void* host = six ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in6&>(bound.name).sin6_addr)
                         : &reinterpret_cast<const sockaddr_in&>(bound.name).sin_addr;
  std::array<char, INET6_ADDRSTRLEN> text{};
  address->kind = kind;
  address->host = ::inet_ntop(bound.name.ss_family, host, text.data(), text.size());
  address->port = PortOf(bound.name);
  return true;
}

}  // namespace

std::unique_ptr<Listener> Listener::Open(const Address& address, std::string* error) {
  std::string why;
  const Deadline deadline(std::chrono::seconds(10));
  const auto endpoints = transport::Resolve(address, true, deadline, &why);
  Address chosen = address;
  int fd = -1;
  for (size_t i = 0; i < endpoints.size() && fd < 0; ++i) {
    fd = address.kind == Address::Kind::kUnix ? ListenUnix(address, endpoints[i], &why)
                                              : ListenAt(endpoints[i], &chosen.port, &why);
  }
  if (fd < 0) {
    *error = CannotListen(address, why);
    return nullptr;
  }
  const bool owns_path = address.kind == Address::Kind::kUnix;
  return std::unique_ptr<Listener>(new Listener(fd, std::move(chosen), owns_path));
}

std::unique_ptr<Listener> Listener::Adopt(int fd, Address::Kind kind, std::string* error) {
  Descriptor socket(fd);
  Endpoint bound;
  bound.length = sizeof(bound.name);
  Address address;
  int type = 0, listens = 0;
  socklen_t size = sizeof(int);
  if (::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 ||
      ::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 ||
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&bound.name), &bound.length) != 0) {
    *error = SystemError(errno);
    return nullptr;
  }
  if (type != SOCK_STREAM || listens == 0 || !AddressOf(bound, kind, &address)) {
    *error = "it is no Unix, Internet or vsock socket of kind stream that listens";
    return nullptr;
  }
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 || ::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
    *error = SystemError(errno);
    return nullptr;
  }
  return std::unique_ptr<Listener>(new Listener(socket.Release(), std::move(address), false));
}

Listener::Listener(int fd, Address address, bool owns_path)
    : fd_(fd), reserve_(::fcntl(fd, F_DUPFD_CLOEXEC, 0)), address_(std::move(address)), owns_path_(owns_path) {}

Listener::~Listener() {
  if (fd_ >= 0 && owns_path_) ::unlink(address_.path.c_str());
  Forget();
}

void Listener::Forget() {
  if (fd_ >= 0) ::close(fd_);
  if (reserve_ >= 0) ::close(reserve_);
  fd_ = reserve_ = -1;
}

int Listener::Accept() {
  for (;;) {
    const int fd = ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) return fd;
    if (errno == EMFILE || errno == ENFILE) break;
    if (errno != EINTR && errno != ECONNABORTED) return -1;
  }
  if (reserve_ >= 0) ::close(reserve_);
  const int fd = ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
  if (fd >= 0) ::close(fd);
  reserve_ = ::fcntl(fd_, F_DUPFD_CLOEXEC, 0);
  return kTurnedAway;
}

}  // namespace vesper
