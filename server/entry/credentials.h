// Where a server's key, certificate and tokens are kept, and how they are made: `vesper-server init` and `vesper-server token`.
#pragma once

#include <cstdint>
#include <string>

namespace vesper::server {

// Names the folder and the files in it.
class Credentials {
 public:
  // Empty: /etc/vesper for root, else $XDG_CONFIG_HOME/vesper or ~/.config/vesper.
  explicit Credentials(const std::string& folder);
  const std::string& folder() const { return folder_; }
  std::string key() const { return folder_ + "/server.key"; }
  std::string certificate() const { return folder_ + "/server.crt"; }
  std::string tokens() const { return folder_ + "/tokens"; }

 private:
  std::string folder_;
};

struct InitOptions {
  std::string credentials;
  std::string host;  // as clients call this machine; empty: its own name
  uint16_t port = 7700;
};
// Makes what is missing, and says what to paste on a client. Returns the process's exit code.
int RunInit(const InitOptions& options);

struct TokenOptions {
  std::string credentials;
  std::string name;
  uint32_t sessions = 0, memory_mib = 0, queued_mib = 0, gpu_seconds = 0, idle_seconds = 0;
  bool remove = false;
};
// Makes a token and prints it, or takes one away. A server that runs has to be told: SIGHUP.
int RunToken(const TokenOptions& options);

}  // namespace vesper::server
