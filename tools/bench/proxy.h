// A line of a given delay and rate: TCP on this machine, relayed to a server. What comes in leaves in the same order and no
// other, half the round trip later, and no faster than the rate. The line itself holds little more than is on its way; what
// waits for it waits where it came from, as before a modem.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>

#include "runtime/address.h"

namespace vesper::tools::bench {

struct Line;

class Proxy {
 public:
  // To `server`, tcp:// or tls://. Throws std::runtime_error.
  Proxy(const Address& server, const Line& line);
  ~Proxy();  // ends what is still connected
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;

  // What a client connects to; with what the server's address says of tokens and fingerprints.
  const std::string& address() const { return address_; }
  // Connections that have not ended, both ways.
  size_t connections() const { return connections_; }

 private:
  class Relay;
  std::unique_ptr<Relay> relay_;
  std::string address_;
  std::atomic<size_t> connections_ = 0;
  int stop_ = -1;  // an eventfd
  std::thread thread_;
};

}  // namespace vesper::tools::bench
