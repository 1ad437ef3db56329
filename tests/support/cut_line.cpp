#include "tests/support/cut_line.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/address.h"

namespace vesper::test {
namespace {

int Dial(const Address& address) {
  sockaddr_storage name{};
  socklen_t length = 0;
  if (address.kind == Address::Kind::kUnix) {
    auto* to = reinterpret_cast<sockaddr_un*>(&name);
    to->sun_family = AF_UNIX;
    address.path.copy(to->sun_path, sizeof(to->sun_path) - 1);
    length = sizeof(*to);
  } else {
    auto* to = reinterpret_cast<sockaddr_in*>(&name);
    to->sin_family = AF_INET;
    to->sin_port = htons(static_cast<uint16_t>(address.port));
    to->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    length = sizeof(*to);
  }
  const int fd = socket(name.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0 && connect(fd, reinterpret_cast<const sockaddr*>(&name), length) == 0) return fd;
  if (fd >= 0) close(fd);
  return -1;
}

// Ends after `pieces` that came at once; `note` hears of each before it goes on.
template <typename Note>
void Pump(int from, int to, int pieces, Note note) {
  std::vector<char> bytes(size_t{256} << 10);
  for (; pieces != 0; --pieces) {
    const ssize_t got = recv(from, bytes.data(), bytes.size(), 0);
    if (got <= 0) break;
    note();
    for (ssize_t sent = 0; sent < got;) {
      const ssize_t count = send(to, bytes.data() + sent, static_cast<size_t>(got - sent), MSG_NOSIGNAL);
      if (count <= 0) return;
      sent += count;
    }
  }
  shutdown(to, pieces == 0 ? SHUT_RDWR : SHUT_WR);
  if (pieces == 0) shutdown(from, SHUT_RDWR);
}

// What passes is the server's own, so its token and certificate are named as before.
std::string AddressOf(Address line, const Address& server) {
  line.token = server.token;
  line.fingerprint = server.fingerprint;
  return line.WithSecrets();
}

class Relay final : public CutLine {
 public:
  Relay(Address server, std::unique_ptr<Listener> listener, std::string folder)
      : server_(std::move(server)),
        listener_(std::move(listener)),
        folder_(std::move(folder)),
        address_(AddressOf(listener_->address(), server_)),
        acceptor_([this] { Accept(); }) {
    // Tests fork: a thread that is just being made may hold what its child needs.
    accepting_.wait(false);
  }
  ~Relay() override {
    stopping_ = true;
    acceptor_.join();
    Cut();
    for (std::thread& pump : pumps_) pump.join();
    for (const int fd : sockets_) close(fd);
    listener_.reset();
    if (!folder_.empty()) rmdir(folder_.c_str());
  }

  const std::string& address() const override { return address_; }
  void Cut() override {
    const std::lock_guard lock(mutex_);
    for (const int fd : sockets_) shutdown(fd, SHUT_RDWR);
  }
  void CutAfter(int answers) override { answers_ = answers; }
  uint64_t turns() const override { return turns_; }

 private:
  void Accept() {
    accepting_ = true;
    accepting_.notify_all();
    while (!stopping_) {
      pollfd entry{listener_->fd(), POLLIN, 0};
      if (poll(&entry, 1, 20) <= 0) continue;
      const int client = listener_->Accept();
      if (client < 0) continue;
      fcntl(client, F_SETFL, fcntl(client, F_GETFL) & ~O_NONBLOCK);
      const int server = Dial(server_);
      if (server < 0) {
        close(client);
        continue;
      }
      const std::lock_guard lock(mutex_);
      sockets_.insert(sockets_.end(), {client, server});
      pumps_.emplace_back([this, client, server] { Pump(client, server, -1, [this] { asked_ = true; }); });
      const int answers = answers_;
      pumps_.emplace_back([this, client, server, answers] {
        Pump(server, client, answers, [this] { turns_ += asked_.exchange(false) ? 1 : 0; });
      });
    }
  }

  const Address server_;
  std::unique_ptr<Listener> listener_;
  const std::string folder_;
  const std::string address_;
  std::atomic<bool> accepting_ = false, stopping_ = false;
  std::atomic<int> answers_ = -1;
  std::atomic<bool> asked_ = false;
  std::atomic<uint64_t> turns_ = 0;
  std::mutex mutex_;
  std::vector<int> sockets_;
  std::vector<std::thread> pumps_;
  std::thread acceptor_;
};

}  // namespace

std::unique_ptr<CutLine> CutLine::To(const std::string& server, std::string* error) {
  const auto to = ParseAddress(server, error);
  if (!to) return nullptr;
  std::string folder;
  Address own{.kind = to->kind, .path = {}, .host = "127.0.0.1", .port = 0};
  if (own.kind == Address::Kind::kUnix) {
    char pattern[] = "/tmp/vesper-line-XXXXXX";
    folder = mkdtemp(pattern);
    own.path = folder + "/line.sock";
  }
  auto listener = Listener::Open(own, error);
  if (listener == nullptr) return nullptr;
  return std::make_unique<Relay>(*to, std::move(listener), std::move(folder));
}

}  // namespace vesper::test
