#include "server/entry/passing.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace vesper::server {

bool Pass(int line, std::span<const std::byte> bytes, int descriptor) {
  iovec data{const_cast<std::byte*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  if (descriptor >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &descriptor, sizeof(descriptor));
  }
  return sendmsg(line, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == static_cast<ssize_t>(bytes.size());
}

LineStatus TakePassed(int line, std::span<std::byte> bytes, size_t* size, Descriptor* descriptor) {
  iovec data{bytes.data(), bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ssize_t count;
  do {
    count = recvmsg(line, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  } while (count < 0 && errno == EINTR);
  if (count < 0 && errno == EAGAIN) return LineStatus::kNothing;
  if (count < 0) return LineStatus::kEnded;
  *descriptor = Descriptor();
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header != nullptr && header->cmsg_type == SCM_RIGHTS) {
    int number = -1;
    std::memcpy(&number, CMSG_DATA(header), sizeof(number));
    *descriptor = Descriptor(number);
  }
  *size = static_cast<size_t>(count);
  return count != 0 ? LineStatus::kMessage : LineStatus::kEnded;
}

LineStatus TakePassed(int line, std::span<std::byte> bytes, Descriptor* descriptor) {
  size_t size = 0;
  const LineStatus status = TakePassed(line, bytes, &size, descriptor);
  return status == LineStatus::kMessage && size != bytes.size() ? LineStatus::kEnded : status;
}

}  // namespace vesper::server
