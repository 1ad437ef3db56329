#include "tools/bench/tcp.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <string>

namespace vesper::tools::bench {

void PrepareTcp(int fd, int receive_bytes) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (receive_bytes != 0) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes));
}

Descriptor DialTcp(const Address& to, int receive_bytes) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(to.host.c_str(), std::to_string(to.port).c_str(), &hints, &found) != 0) return {};
  Descriptor socket;
  for (const addrinfo* each = found; each != nullptr && !socket.valid(); each = each->ai_next) {
    Descriptor fd(::socket(each->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd.valid()) continue;
    PrepareTcp(fd.get(), receive_bytes);
    if (connect(fd.get(), each->ai_addr, each->ai_addrlen) == 0) socket = std::move(fd);
  }
  freeaddrinfo(found);
  return socket;
}

}  // namespace vesper::tools::bench
