// The supervisor's side of the door: starts the process that meets strangers (doorkeeper.h), starts it again when it has ended,
// and takes over the clients that it lets in.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "runtime/descriptor.h"
#include "server/entry/admission.h"
#include "server/entry/tokens.h"

namespace vesper::server {

// Owned by the supervisor, whose only thread calls it. Only Open() waits: for the process to be ready.
class Door {
 public:
  struct Files {
    std::string key, certificate, tokens;
    std::string client_authority;  // empty: clients have no certificates
    std::string revocations;       // of the authority's certificates; empty: there are none
  };
  // Starts a process that inherits `line`. Returns its number, or a negative one with errno.
  using Spawn = std::function<pid_t(int line)>;
  using Admit = std::function<void(int socket, const Admission&)>;
  // Which certificates there are sessions of, and what is done with one that is revoked.
  struct Held {
    std::function<std::vector<tls::CertificateId>()> list;
    std::function<void(const tls::CertificateId&)> revoked;
  };

  // The listening sockets stay the caller's.
  Door(Files files, std::vector<int> listeners, Spawn spawn, Admit admit, Held held);
  ~Door();
  Door(const Door&) = delete;
  Door& operator=(const Door&) = delete;

  // Reads the files, starts the process and waits until it lets strangers in. False with a sentence.
  bool Open(std::string* error);
  const std::string& fingerprint() const { return fingerprint_; }
  const Tokens& tokens() const { return tokens_; }
  // Whether a client that was let in by that name would still be let in.
  bool Knows(std::string_view name) const;

  int fd() const { return line_.get(); }  // readable when Look() has something to do; -1 while there is no process
  void Look();
  // Starts the process again, a while after it has ended.
  void Tick();
  bool waits() const { return !line_.valid(); }
  // The process has been reaped. False when it was not the door's.
  bool Ended(pid_t pid, const std::string& cause);
  void Kill();
  uint64_t refused() const { return refused_; }

  // Reads the file of tokens again, and the process the revocation lists. False with a sentence; then the tokens of before stay in
  // force.
  bool ReloadTokens(std::string* error);
  // Whoever asks whether the server takes sessions is told that it does not. Those that it lets in are the supervisor's to refuse.
  void Drain();

 private:
  bool Start(std::string* error);
  bool Send(std::string* error);
  bool AskOfHeld();
  bool ReadTokens(std::string* error);

  const Files files_;
  const std::vector<int> listeners_;
  const Spawn spawn_;
  const Admit admit_;
  const Held held_;
  Descriptor line_;
  pid_t pid_ = 0;
  bool ready_ = false;
  bool draining_ = false;
  std::string problem_;
  std::string fingerprint_;
  Tokens tokens_;
  uint64_t refused_ = 0;
  std::chrono::steady_clock::time_point ended_;
};

}  // namespace vesper::server
