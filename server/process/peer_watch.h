// Notices that a client on this machine has ended although another process still holds its socket: a child that the client
// forked keeps the connection open.
#pragma once

#include <chrono>
#include <functional>
#include <thread>

#include "runtime/channel.h"

namespace vesper::server {

// Watches a pidfd of the peer of a Unix socket, on a thread of its own from the constructor to the destructor. Owned by the
// worker. Does nothing for other sockets, for peers in process namespaces that this process cannot see, and on kernels without
// pidfds.
class PeerWatch {
 public:
  // `gone` is called once, on that thread, when the peer's process has ended. The socket is used by the constructor alone.
  PeerWatch(int socket, std::function<void()> gone);
  ~PeerWatch();
  PeerWatch(const PeerWatch&) = delete;
  PeerWatch& operator=(const PeerWatch&) = delete;

 private:
  int pidfd_ = -1;
  int stop_ = -1;
  std::thread thread_;
};

// Notices that a process of a guest has closed its port, which nothing says on the host: what is sent to a port that nobody has
// open stays in the socket. So something is sent when nothing was heard for a while, less and less often, since a process that
// sleeps takes nothing out of the port, which holds a hundred such. `gone` is called once, on a thread that lives from the
// constructor to the destructor. The channel lives longer.
class PortWatch {
 public:
  PortWatch(int socket, Channel* channel, std::function<void()> gone);
  ~PortWatch();
  PortWatch(const PortWatch&) = delete;
  PortWatch& operator=(const PortWatch&) = delete;

 private:
  void Run(const std::function<void()>& gone);

  const int socket_;
  Channel* const channel_;
  int stop_ = -1;
  std::thread thread_;
};

}  // namespace vesper::server
