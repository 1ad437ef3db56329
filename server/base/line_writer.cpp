#include "server/base/line_writer.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "server/base/limits.h"

namespace vesper::server {
namespace {

// How many bytes of a valid UTF-8 sequence begin here, and its code point; 0 when none does.
size_t Sequence(std::string_view text, uint32_t* code) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  const size_t length = first < 0x80 ? 1 : (first >> 5) == 6 ? 2 : (first >> 4) == 14 ? 3 : (first >> 3) == 30 ? 4 : 0;
  if (length == 0 || length > text.size()) return 0;
  *code = length == 1 ? first : first & (0x7fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    *code = *code << 6 | (byte(i) & 0x3fu);
  }
  constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = *code >= 0xd800 && *code <= 0xdfff;
  return *code < kLeast[length] || *code > 0x10ffff || surrogate ? 0 : length;
}

bool MustNotShow(uint32_t code) {
  const auto within = [code](uint32_t first, uint32_t last) { return code >= first && code <= last; };
  return code < 0x20 || within(0x7f, 0x9f) || within(0x200e, 0x200f) || within(0x2028, 0x202e) ||
         within(0x2066, 0x2069) || code == 0xfeff;
}

}  // namespace

std::string Escaped(std::string_view text) {
  std::string line;
  line.reserve(text.size());
  while (!text.empty()) {
    uint32_t code = 0;
    const size_t length = Sequence(text, &code);
    if (length == 0) {
      line += fmt::format("\\x{:02x}", static_cast<uint8_t>(text[0]));
    } else if (code == '\n') {
      line += "\\n";
    } else if (MustNotShow(code)) {
      line += code < 0x80 ? fmt::format("\\x{:02x}", code) : fmt::format("\\u{:04x}", code);
    } else {
      line += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return line;
}

LineWriter::LineWriter(int fd, std::string (*dress)(const std::string&)) : fd_(fd), dress_(dress) {
  struct stat status {};
  if (fstat(fd, &status) != 0 || S_ISREG(status.st_mode)) return;
  socket_ = S_ISSOCK(status.st_mode);
  if (socket_) return;
  const int own =
      open(fmt::format("/proc/self/fd/{}", fd).c_str(), O_WRONLY | O_APPEND | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  waits_ = own < 0 || dup2(own, fd) < 0;
  if (own >= 0) close(own);
}

void LineWriter::Write(std::string_view line) {
  std::string whole(line.substr(0, limits::kMaxLine));
  whole += line.size() > limits::kMaxLine ? "...\n" : "\n";
  if (left_out_ != 0) {
    const std::string note = fmt::format("{} lines were left out: nobody took them", left_out_);
    if (!PutWhole((dress_ == nullptr ? note : dress_(note)) + "\n")) {
      ++left_out_;
      return;
    }
    left_out_ = 0;
  }
  if (!PutWhole(whole)) ++left_out_;
}

bool LineWriter::PutWhole(std::string_view text) {
  if (!rest_.empty() && Put(std::exchange(rest_, {})) != Took::kAll) return false;
  return Put(text) != Took::kNothing;
}

LineWriter::Took LineWriter::Put(std::string_view text) {
  if (waits_) {
    pollfd entry{fd_, POLLOUT, 0};
    if (poll(&entry, 1, 0) != 1) return Took::kNothing;
  }
  ssize_t count;
  do {
    count = socket_ ? send(fd_, text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL)
                    : write(fd_, text.data(), text.size());
  } while (count < 0 && errno == EINTR);
  if (count == static_cast<ssize_t>(text.size())) return Took::kAll;
  if (count <= 0) return Took::kNothing;
  rest_ = text.substr(static_cast<size_t>(count));
  return Took::kPart;
}

}  // namespace vesper::server
