// How lines of a log leave a process whose work must not wait for whoever reads them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace vesper::server {

// `text` as part of one line: control characters, what reorders text on a terminal, and bytes that are no UTF-8 become
// escapes, so that nobody can forge a line or drive a terminal through a log.
std::string Escaped(std::string_view text);

// Owned by the log, whose lock guards it. Never waits: lines that nobody takes are left out and counted, and a later line says
// how many.
class LineWriter {
 public:
  // `fd` stays the caller's. A pipe or a terminal is opened anew without waiting, since it may be shared with processes
  // that want to wait, and takes the place of `fd`, so that what others in this process write there does not wait either.
  // What the writer has to say itself passes through `dress`, if there is one.
  explicit LineWriter(int fd, std::string (*dress)(const std::string&) = nullptr);

  void Write(std::string_view line);
  uint64_t left_out() const { return left_out_; }

 private:
  enum class Took : uint8_t { kAll, kPart, kNothing };
  Took Put(std::string_view text);
  bool PutWhole(std::string_view text);

  const int fd_;
  std::string (*const dress_)(const std::string&);
  bool socket_ = false;
  bool waits_ = false;  // writing to it may block, so poll() is asked first
  std::string rest_;    // what is left of a line that was taken in part
  uint64_t left_out_ = 0;
};

}  // namespace vesper::server
