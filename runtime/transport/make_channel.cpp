// Channels of connected sockets and ports, as runtime/address.h gives them out.
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "runtime/address.h"
#include "runtime/transport/endpoint.h"
#include "runtime/transport/ring_channel.h"
#include "runtime/transport/socket_channel.h"

namespace vesper {

namespace {

using transport::SocketChannel;

std::unique_ptr<SocketChannel> Make(int fd, std::unique_ptr<tls::Stream> tls,
                                    SocketChannel::Line line = SocketChannel::Line::kSocket, resume::Dial dial = {}) {
  const int wake = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  const int flags = ::fcntl(fd, F_GETFL);
  if (wake < 0 || flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || ::fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
    if (wake >= 0) ::close(wake);
    ::close(fd);
    return nullptr;
  }
  return std::make_unique<SocketChannel>(fd, wake, std::move(tls), line, std::move(dial));
}

std::unique_ptr<Channel> WithRing(std::unique_ptr<SocketChannel> socket) {
  if (socket == nullptr || !socket->CarriesDescriptors()) return socket;
  return std::make_unique<transport::RingChannel>(std::move(socket));
}

std::unique_ptr<Channel> MakeTls(int fd, const tls::Secrets& secrets, tls::End end, resume::Dial dial,
                                 std::string* error) {
  std::unique_ptr<tls::Stream> stream = tls::Stream::Make(fd, secrets, end, error);
  if (stream == nullptr) {
    ::close(fd);
    return nullptr;
  }
  std::unique_ptr<Channel> channel =
      WithRing(Make(fd, std::move(stream), SocketChannel::Line::kSocket, std::move(dial)));
  if (channel == nullptr) *error = "no file descriptor is left";
  return channel;
}

}  // namespace

std::unique_ptr<Channel> MakeSocketChannel(int fd) { return WithRing(Make(fd, nullptr)); }

std::unique_ptr<Channel> MakeGuestChannel(int fd, std::shared_ptr<Area> area) {
  std::unique_ptr<SocketChannel> port = Make(fd, nullptr, SocketChannel::Line::kPort);
  if (port == nullptr || area == nullptr) return port;
  return std::make_unique<transport::RingChannel>(std::move(port), std::move(area));
}

std::unique_ptr<Channel> MakeTlsChannel(int fd, const tls::Secrets& secrets, tls::End end, std::string* error) {
  return MakeTls(fd, secrets, end, {}, error);
}

std::unique_ptr<Channel> transport::MakeClientChannel(int fd, const tls::Secrets& secrets, resume::Dial dial,
                                                      std::string* error) {
  if (secrets.suite != 0) return MakeTls(fd, secrets, tls::End::kClient, std::move(dial), error);
  std::unique_ptr<Channel> channel = WithRing(Make(fd, nullptr, SocketChannel::Line::kSocket, std::move(dial)));
  if (channel == nullptr) *error = "no file descriptor is left";
  return channel;
}

}  // namespace vesper
