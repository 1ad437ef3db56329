// Notices that a client on this machine has ended although another process still holds its socket: a child that the client
// forked keeps the connection open.
#pragma once

#include <functional>
#include <thread>

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

}  // namespace vesper::server
