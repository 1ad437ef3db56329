// What can be learned of a peer and said to it before it has a worker.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

#include "runtime/channel.h"
#include "runtime/tls/secrets.h"

namespace vesper::server {

// Names where a peer comes from, to count peers by: the address of a machine or its network, the number of a virtual
// machine, the user of a local process.
std::string OriginOf(int socket);

// Sends the notice whole or not at all: a peer whose buffer has no room for it has read nothing yet. Where there are `secrets`
// it is encrypted with them, and they count the record.
bool Tell(int socket, tls::Secrets* secrets, MessageKind kind, const std::string& text);

// Reads and drops what the peer has sent. Closing a TCP socket with unread bytes resets the connection, and the peer would lose
// what we said last.
void TakeWhatIsThere(int socket);

// Logs refusals, at most one line in limits::kRefusalLines: peers may come and be refused as fast as they like. Used by one
// thread.
class RefusalLog {
 public:
  void Note(const std::string& refusal);
  // Logs refusals that the last line did not count, once it is old enough. To be called regularly.
  void Tick();
  bool all_said() const { return unsaid_ == 0; }
  uint64_t total() const { return total_; }

 private:
  void Say(std::chrono::steady_clock::time_point now);
  uint64_t total_ = 0;
  size_t unsaid_ = 0;  // refusals that no line has counted yet
  std::string last_;
  std::chrono::steady_clock::time_point said_;
};

}  // namespace vesper::server
