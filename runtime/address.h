// Where a server listens and where a client connects: `unix:PATH`, `tcp://HOST:PORT` or `tls://[TOKEN@]HOST:PORT[#FINGERPRINT]`
// (IPv6 in brackets), between a virtual machine and its host `vsock://CID:PORT`, or in a guest that QEMU runs `guest://`.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/area.h"
#include "runtime/channel.h"
#include "runtime/tls/secrets.h"

namespace vesper {

struct Address {
  enum class Kind : uint8_t { kUnix, kTcp, kTls, kVsock, kGuest } kind = Kind::kUnix;
  std::string path;   // kUnix; kGuest: a port, or empty, for one that is found
  std::string host;   // kTcp and kTls, without brackets
  uint32_t port = 0;  // of kVsock any number of 32 bits, else up to 65535
  uint32_t cid = 0;   // kVsock: of a machine; kAnyCid stands for all, where a server listens
  // kTls, of a client, where the address says it: else VESPER_TOKEN and VESPER_FINGERPRINT do.
  std::string token = {};
  std::string fingerprint = {};
  std::string area = {};  // kGuest: a file that shows the memory shared with the host, where a port is named

  static constexpr uint32_t kAnyCid = UINT32_MAX, kLocalCid = 1, kHostCid = 2;

  // Fit for a log: without the token.
  std::string ToString() const;
  // What ParseAddress() makes the same address of.
  std::string WithSecrets() const;
};

// nullopt with a sentence that says what is wrong and what is right.
std::optional<Address> ParseAddress(const std::string& text, std::string* error);

// $XDG_RUNTIME_DIR/vesper/server.sock, else /tmp/vesper-UID/server.sock: where a client looks when nothing is configured.
Address DefaultUnixAddress();
// Beside it: where a server is looked into and steered (server/desk/admin.capnp).
Address DefaultAdminAddress();
// Whether this machine is a guest with ports of a server on its host (`vesper-server --guest`).
bool IsGuest();
// A port of this guest as Connect() takes one, whose host is there, for who speaks something else through it: non-blocking. Invalid
// with a sentence. Waits while all ports are in use.
Descriptor OpenGuestPort(const Address& address, int timeout_ms, std::string* error);
// Where a program looks for a server when nobody has said anything: the host's, in a guest that has no server of its own.
Address DefaultAddress();
// True when only this machine can reach it, or what runs on it.
bool IsLoopback(const Address& address);

// Connects within `timeout_ms`. nullptr with a sentence in `error`. The socket is close-on-exec and non-blocking.
std::unique_ptr<Channel> Connect(const Address& address, int timeout_ms, std::string* error);

// Makes a channel of a connected stream socket, which it owns from now on. nullptr (and the socket closed) when the process
// has no descriptor left.
std::unique_ptr<Channel> MakeSocketChannel(int fd);
// The same of a guest's port, at either end: a device of the guest, or the host's socket. `area` is the memory that both map, or
// nullptr.
std::unique_ptr<Channel> MakeGuestChannel(int fd, std::shared_ptr<Area> area);
// The same for one whose TLS handshake is done.
std::unique_ptr<Channel> MakeTlsChannel(int fd, const tls::Secrets& secrets, tls::End end, std::string* error);

// A listening socket. A stale Unix socket (nobody answers) is replaced; one in use is an error. The directory of the
// default address is made with mode 0700 and must belong to the user. Port 0 picks a free one.
class Listener {
 public:
  static std::unique_ptr<Listener> Open(const Address& address, std::string* error);
  // Of a socket that another process (systemd) has bound and listens on: the file stays its maker's. Takes `fd` over. `kind` is
  // that of Internet sockets.
  static std::unique_ptr<Listener> Adopt(int fd, Address::Kind kind, std::string* error);
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
