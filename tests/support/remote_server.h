// Starts a vesper-server for a test and ends it: on a Unix socket in a folder of its own and on a
// free TCP port of the loopback. Used by C++ tests that need a live server; shell tests use
// tests/integration/run_remote.sh.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace vesper::test {

using Environment = std::vector<std::pair<std::string, std::string>>;

class RemoteServer {
 public:
  struct Options {
    std::vector<std::string> arguments;  // after the --listen ones
    Environment environment;             // added to this process's
    std::string driver;                  // ICD manifest for the server alone; empty: $VESPER_TEST_DRIVER or lavapipe
    int start_timeout_ms = 60'000;
    bool tls = false;    // it listens on tls:// as well, with credentials of its own
    bool vsock = false;  // and on vsock, for this machine
  };

  // nullptr with a sentence in `error`, which ends with what the server printed.
  static std::unique_ptr<RemoteServer> Start(const Options& options, std::string* error);
  ~RemoteServer();  // kills it if it still runs; removes the folder
  RemoteServer(const RemoteServer&) = delete;
  RemoteServer& operator=(const RemoteServer&) = delete;

  pid_t pid() const { return pid_; }
  const std::string& unix_address() const { return unix_address_; }
  const std::string& tcp_address() const { return tcp_address_; }
  // With token and fingerprint.
  const std::string& tls_address() const { return tls_address_; }
  const std::string& vsock_address() const { return vsock_address_; }
  const std::string& folder() const { return folder_; }

  // What a client program needs to see this server's devices and no others.
  Environment ClientEnvironment(const std::string& address) const;

  // SIGTERM, then up to `timeout_ms`. The exit status; 128 + N when signal N ended it; -1 when it
  // had to be killed.
  int Stop(int timeout_ms = 20'000);
  // What it printed so far, stdout first.
  std::string Output() const;

 private:
  explicit RemoteServer(std::string folder) : folder_(std::move(folder)) {}
  void Spawn(const Options& options);
  bool MakeCredentials(std::string* error);
  bool WaitUntilListening(int timeout_ms, std::string* error);
  bool HasEnded();  // reaps

  std::string folder_;
  pid_t pid_ = -1;
  int status_ = -1;  // as waitpid gave it, once pid_ is -1 again
  std::string unix_address_;
  std::string tcp_address_;
  std::string tls_address_;
  std::string vsock_address_;
  bool tls_ = false, vsock_ = false;
};

// Of what `vesper-server init` says to paste on a client, having made credentials in `folder`. Empty, with what it said, when
// it fails.
struct FirstToken {
  std::string token, fingerprint;
};
FirstToken InitCredentials(const std::string& folder, std::string* said);

// Whether this kernel has vsock, and a way from the machine to itself (the module vsock_loopback).
bool HasVsockLoopback();

// $VESPER_SERVER_BINARY and $VESPER_ICD_MANIFEST, else where this build put them.
std::string ServerBinary();
std::string IcdManifest();

}  // namespace vesper::test
