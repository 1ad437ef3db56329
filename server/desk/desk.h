// How the threads of admin and metrics ask the supervisor something: what they ask runs in its loop, so that they share no data
// with it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "runtime/descriptor.h"
#include "runtime/mutex.h"
#include "server/desk/account.h"

namespace vesper::server {

// Owned by the supervisor, whose loop calls fd(), Serve() and Close(). The threads of admin and metrics call Ask(). mutex_
// guards all that changes and is held while questions run, so that who asked does not go meanwhile.
class Desk {
 public:
  Desk();

  // Readable when Serve() has something to do.
  int fd() const { return wake_.get(); }
  void Serve();
  // From now on Ask() answers false.
  void Close();

  // Runs `question` in the loop and waits for its end. False when it did not run.
  bool Ask(const std::function<void()>& question);

 private:
  const Descriptor wake_;
  Mutex mutex_;
  Condition answered_;
  std::vector<const std::function<void()>*> questions_ VESPER_GUARDED_BY(mutex_);
  uint64_t asked_ VESPER_GUARDED_BY(mutex_) = 0;  // questions so far
  uint64_t done_ VESPER_GUARDED_BY(mutex_) = 0;   // how many of these have run
  bool closed_ VESPER_GUARDED_BY(mutex_) = false;
};

// What whoever runs the server sees of a session, and of the server.
struct SessionView {
  uint64_t number = 0;
  std::string who, program;
  int32_t worker = 0;
  bool device = false;
  double seconds = 0;
  uint64_t memory = 0;
  double broken = 0;  // seconds since when its client is waited for
  Account account;
};
struct ServerView {
  std::vector<SessionView> sessions;
  uint32_t waiting = 0;
  uint64_t served = 0, refused = 0, faults = 0;
  bool draining = false;
  double seconds = 0;
  Account ended;
};

// What whoever runs the server can do. The supervisor is one; its loop calls these, by way of the desk.
class Steering {
 public:
  virtual ~Steering() = default;
  virtual ServerView View() = 0;
  virtual bool End(uint64_t session) = 0;
  virtual void Drain() = 0;
  // Reads the tokens again. How many there are, or 0 with the reason why they stay as they were.
  virtual uint32_t Reload(std::string* error) = 0;
};

}  // namespace vesper::server
