// Stands between the programs that `vesper record` runs and the server, passes every message on, and writes what passed. Neither
// end knows of it: the client sees a server on a Unix socket without shared memory, so that all bytes are messages.
#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "runtime/address.h"
#include "runtime/mutex.h"
#include "tools/recording/recording.h"

namespace vesper::tools::recording {

struct RelayOptions {
  Address server;
  std::string file;        // of the first session; those after it get .2, .3 …
  bool anonymize = false;  // leave out names and labels that are for people
};

class Relay {
 public:
  struct Recorded {
    std::string file, program;
    uint64_t messages = 0, bytes = 0, stored_bytes = 0;
    std::string error;  // why it is not whole, or why there is no session
  };

  // Listens at a Unix socket; nullptr with a sentence in `error`.
  static std::unique_ptr<Relay> Start(const RelayOptions& options, const std::string& socket, std::string* error);
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  // Waits up to `patience_ms` for sessions to end, then ends them. What was recorded, in the order in which sessions began.
  std::vector<Recorded> Finish(int patience_ms);

 private:
  struct Session;
  Relay(RelayOptions options, std::unique_ptr<Listener> listener);
  void Accept();

  const RelayOptions options_;
  const std::unique_ptr<Listener> listener_;
  std::atomic<bool> stopping_{false};
  std::atomic<int> files_{0};
  Mutex mutex_;
  std::list<std::unique_ptr<Session>> sessions_ VESPER_GUARDED_BY(mutex_);
  std::thread acceptor_;
};

}  // namespace vesper::tools::recording
