#include "server/process/worker_line.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "server/base/limits.h"

namespace vesper::server {
bool SendReport(int line, Report report, std::string_view text, int file) {
  std::array<char, 1 + limits::kMaxReportText> bytes;
  bytes[0] = static_cast<char>(report);
  const size_t size = text.copy(bytes.data() + 1, limits::kMaxReportText);
  return Pass(line, std::as_bytes(std::span(bytes.data(), 1 + size)), file);
}

LineStatus ReceiveReport(int line, Report* report, std::string* text, Descriptor* file) {
  std::array<char, 1 + limits::kMaxReportText> bytes;
  size_t size = 0;
  const LineStatus status = TakePassed(line, std::as_writable_bytes(std::span(bytes)), &size, file);
  if (status != LineStatus::kMessage) return status;
  *report = static_cast<Report>(bytes[0]);
  text->assign(bytes.data() + 1, size - 1);
  return LineStatus::kMessage;
}

bool SendOrder(int line, const OrderMessage& order, int socket) {
  return Pass(line, std::as_bytes(std::span(&order, 1)), socket);
}

LineStatus ReceiveOrder(int line, int timeout_ms, OrderMessage* order, int* socket) {
  pollfd entry{line, POLLIN, 0};
  int ready;
  do {
    ready = poll(&entry, 1, timeout_ms);
  } while (ready < 0 && errno == EINTR);
  if (ready == 0) return LineStatus::kNothing;
  Descriptor came;
  const LineStatus status = TakePassed(line, std::as_writable_bytes(std::span(order, 1)), &came);
  *socket = came.Release();
  return status;
}

}  // namespace vesper::server
