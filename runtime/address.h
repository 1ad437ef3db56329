// Where a server listens and where a client connects: `unix:PATH` or `tcp://HOST:PORT` (IPv6 in brackets).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/channel.h"

namespace vesper {

struct Address {
  enum class Kind : uint8_t { kUnix, kTcp } kind = Kind::kUnix;
  std::string path;  // kUnix
  std::string host;  // kTcp, without brackets
  uint16_t port = 0;

  std::string ToString() const;
};

// nullopt with a sentence that says what is wrong and what is right.
std::optional<Address> ParseAddress(const std::string& text, std::string* error);

// $XDG_RUNTIME_DIR/vesper/server.sock, else /tmp/vesper-UID/server.sock.
Address DefaultUnixAddress();
// What a client tries in turn when nothing is configured: the Unix socket, then tcp://127.0.0.1:7700.
std::vector<Address> DefaultClientAddresses();
// True when only this machine can reach it.
bool IsLoopback(const Address& address);

// Connects within `timeout_ms`. nullptr with a sentence in `error`. The socket is close-on-exec and non-blocking.
std::unique_ptr<Channel> Connect(const Address& address, int timeout_ms, std::string* error);

// Makes a channel of a connected stream socket, which it owns from now on. nullptr (and the socket closed) when the process
// has no descriptor left.
std::unique_ptr<Channel> MakeSocketChannel(int fd);

// A listening socket. A stale Unix socket (nobody answers) is replaced; one in use is an error. The directory of the
// default address is made with mode 0700 and must belong to the user. Port 0 picks a free one.
class Listener {
 public:
  static std::unique_ptr<Listener> Open(const Address& address, std::string* error);
  ~Listener();  // closes, and removes a Unix socket that it made
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  int fd() const { return fd_; }
  const Address& address() const { return address_; }  // with the port that was chosen
  // The next connection as a close-on-exec socket; -1 when none waits. When one waits and the process has no descriptor left
  // it is closed, so that nobody waits for ever and poll() sleeps again: kTurnedAway.
  static constexpr int kTurnedAway = -2;
  int Accept();
  // Closes without removing the socket file: for a child process.
  void Forget();

 private:
  Listener(int fd, Address address, bool owns_path);
  int fd_;
  int reserve_;  // given up for a moment when there is no other descriptor
  Address address_;
  bool owns_path_;
};

}  // namespace vesper
