#include "tests/support/cut_line.h"

#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <random>
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
  } else if (address.kind == Address::Kind::kVsock) {
    auto* to = reinterpret_cast<sockaddr_vm*>(&name);
    to->svm_family = AF_VSOCK;
    to->svm_port = address.port;
    to->svm_cid = address.cid;
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

// One connection through the line.
struct Pair {
  int client = -1, server = -1;
  std::atomic<int64_t> bytes = INT64_MAX;  // that may still pass
  bool resets = false;
  std::atomic<bool> cut = false;
  std::atomic<bool> forgotten = false;

  // False when it was cut before.
  bool Cut() {
    if (cut.exchange(true)) return false;
    for (const int fd : {server, client}) {  // else who pumps might close it in order before it is reset
      const sockaddr nobody{AF_UNSPEC, {}};
      // A system call of its own: for ThreadSanitizer connect() makes a socket.
      if (!resets || syscall(SYS_connect, fd, &nobody, sizeof(nobody)) != 0) shutdown(fd, SHUT_RDWR);
    }
    return true;
  }
};

bool SendAll(int to, const char* bytes, ssize_t count) {
  for (ssize_t sent = 0; sent < count;) {
    const ssize_t went = send(to, bytes + sent, static_cast<size_t>(count - sent), MSG_NOSIGNAL);
    if (went <= 0) return false;
    sent += went;
  }
  return true;
}

// Ends after `pieces` that came at once; `note` hears of each before it goes on. True when it cut the connection.
template <typename Note>
bool Pump(Pair* pair, int from, int to, int pieces, Note note) {
  std::vector<char> bytes(size_t{256} << 10);
  for (; pieces != 0; --pieces) {
    const ssize_t got = recv(from, bytes.data(), bytes.size(), 0);
    if (got <= 0) break;
    if (pair->forgotten) continue;
    note();
    const int64_t before = pair->bytes.fetch_sub(got);
    if (!SendAll(to, bytes.data(), std::min<int64_t>(got, std::max<int64_t>(before, 0)))) return false;
    if (before < got) return pair->Cut();
  }
  shutdown(to, pieces == 0 ? SHUT_RDWR : SHUT_WR);
  if (pieces == 0) shutdown(from, SHUT_RDWR);
  return false;
}

// What passes is the server's own, so its token and certificate are named as before.
std::string AddressOf(Address line, const Address& server) {
  if (line.kind == Address::Kind::kVsock) line.cid = Address::kLocalCid;
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
    for (const auto& pair : pairs_) {
      close(pair->client);
      close(pair->server);
    }
    listener_.reset();
    if (!folder_.empty()) rmdir(folder_.c_str());
  }

  const std::string& address() const override { return address_; }
  void Cut() override {
    const std::lock_guard lock(mutex_);
    for (const auto& pair : pairs_) pair->Cut();
  }
  void Tear() override {
    const std::lock_guard lock(mutex_);
    for (const auto& pair : pairs_) {
      pair->resets = true;
      pair->Cut();
    }
  }
  void CutAfter(int answers) override { answers_ = answers; }
  void CutAtRandom(uint32_t seed, uint64_t most) override {
    const std::lock_guard lock(mutex_);
    random_.seed(seed);
    most_ = most;
    least_ = 1;
  }
  void CutAt(uint64_t bytes) override {
    const std::lock_guard lock(mutex_);
    most_ = least_ = bytes;
  }
  void Forget() override {
    const std::lock_guard lock(mutex_);
    for (const auto& pair : pairs_) pair->forgotten = true;
  }
  void ForgetAll() override {
    forgets_ = true;
    Forget();
  }
  void Mend() override {
    forgets_ = false;
    const std::lock_guard lock(mutex_);
    most_ = 0;
    for (const auto& pair : pairs_) pair->bytes = INT64_MAX;
  }
  void Close() override { shut_ = true; }
  uint64_t cuts() const override { return cuts_; }
  uint64_t connections() const override { return connections_; }
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
      const int server = shut_ ? -1 : Dial(server_);
      if (server < 0) {
        close(client);
        continue;
      }
      const std::lock_guard lock(mutex_);
      Begin(client, server);
    }
  }

  // With the mutex.
  void Begin(int client, int server) {
    Pair* const pair = pairs_.emplace_back(std::make_unique<Pair>()).get();
    pair->client = client;
    pair->server = server;
    pair->forgotten = forgets_.load();
    if (most_ != 0) {
      const double ratio = static_cast<double>(most_) / static_cast<double>(least_);
      const double exponent = std::uniform_real_distribution(0.0, std::log2(ratio))(random_);
      pair->bytes = std::llround(static_cast<double>(least_) * std::exp2(exponent));
      pair->resets = connections_ % 2 != 0;
    }
    ++connections_;
    const int answers = answers_;
    pumps_.emplace_back([this, pair] {
      if (Pump(pair, pair->client, pair->server, -1, [this] { asked_ = true; })) ++cuts_;
    });
    pumps_.emplace_back([this, pair, answers] {
      if (Pump(pair, pair->server, pair->client, answers, [this] { turns_ += asked_.exchange(false) ? 1 : 0; }))
        ++cuts_;
    });
  }

  const Address server_;
  std::unique_ptr<Listener> listener_;
  const std::string folder_;
  const std::string address_;
  std::atomic<bool> accepting_ = false, stopping_ = false;
  std::atomic<int> answers_ = -1;
  std::atomic<bool> asked_ = false;
  std::atomic<uint64_t> turns_ = 0;
  std::atomic<uint64_t> cuts_ = 0, connections_ = 0;
  std::atomic<bool> shut_ = false, forgets_ = false;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Pair>> pairs_;
  std::mt19937 random_;
  uint64_t least_ = 1, most_ = 0;  // bytes of a connection; 0: as many as come
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
  if (own.kind == Address::Kind::kVsock) own.cid = Address::kAnyCid;
  auto listener = Listener::Open(own, error);
  if (listener == nullptr) return nullptr;
  return std::make_unique<Relay>(*to, std::move(listener), std::move(folder));
}

}  // namespace vesper::test
