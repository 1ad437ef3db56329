#include "runtime/resume/carrier.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

#include "runtime/handshake.h"

namespace vesper::resume {

bool Carrier::Accept(Descriptor accepted, const tls::Secrets& secrets, std::string* error) {
  socket = std::move(accepted);
  const int flags = ::fcntl(socket.get(), F_GETFL);
  *error = "the socket cannot be used";
  if (flags < 0 || ::fcntl(socket.get(), F_SETFL, flags | O_NONBLOCK) < 0) return false;
  if (secrets.suite != 0) tls = tls::Stream::Make(socket.get(), secrets, tls::End::kServer, error);
  return secrets.suite == 0 || tls != nullptr;
}

bool Carrier::Send(std::span<const uint8_t> bytes) {
  if (bytes.empty()) return false;
  const iovec piece{const_cast<uint8_t*>(bytes.data()), bytes.size()};
  const ssize_t count = tls != nullptr ? tls->Send({&piece, 1})
                                       : ::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  return count == static_cast<ssize_t>(bytes.size()) && (tls == nullptr || !tls->unsent());
}

bool Carrier::Receive(size_t most, const transport::Deadline& deadline, std::vector<uint8_t>* frame) {
  frame->clear();
  size_t wanted = 8;
  for (;;) {
    if (wanted > most || !ReceiveMore(wanted, deadline, frame)) return false;
    const size_t bytes = MessageBytes(*frame);
    if (bytes == frame->size()) return true;
    // The table of segments is longer than what is here as long as it is not known.
    wanted = bytes == 0 ? frame->size() + 8 : bytes;
  }
}

bool Carrier::ReceiveMore(size_t bytes, const transport::Deadline& deadline, std::vector<uint8_t>* frame) const {
  size_t here = frame->size();
  frame->resize(bytes);
  while (here < bytes) {
    const iovec room{frame->data() + here, bytes - here};
    const ssize_t count =
        tls != nullptr ? tls->Receive({&room, 1}) : ::recv(socket.get(), room.iov_base, room.iov_len, MSG_DONTWAIT);
    if (count > 0) {
      here += static_cast<size_t>(count);
      continue;
    }
    if (count == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) return false;
    pollfd entry{socket.get(), POLLIN, 0};
    if (::poll(&entry, 1, deadline.PollMilliseconds()) <= 0 && deadline.passed()) return false;
  }
  return true;
}

}  // namespace vesper::resume
