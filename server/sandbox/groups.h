// A control group (version 2) for each worker, where systemd lets the server have some of its own (Delegate=): then the processors'
// time is shared out between sessions, however many threads each has, and a worker's memory, with what is shared and cached for
// it, and its tasks have a bound that the kernel keeps.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <set>
#include <string>

namespace vesper::server {

// Owned by the supervisor, whose only thread calls it.
class Groups {
 public:
  Groups() = default;
  ~Groups();
  Groups(const Groups&) = delete;
  Groups& operator=(const Groups&) = delete;

  // The folder of this process's group, if it was delegated; else "".
  static std::string Delegated();

  // Makes groups below that folder from now on, having moved this process into one, since the kernel has processes in leaves
  // alone. False with a sentence; then there are none. `memory_bytes`: of each worker, 0: no bound.
  bool Begin(const std::string& folder, uint64_t memory_bytes, std::string* error);
  bool used() const { return !folder_.empty(); }
  // Puts a process, which has just been started, into the group of that place.
  void Enter(uint32_t place, pid_t pid);

 private:
  std::string folder_;  // empty: there are none
  uint64_t memory_bytes_ = 0;
  std::set<std::string> made_;
};

}  // namespace vesper::server
