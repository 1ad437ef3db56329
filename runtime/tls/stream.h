// A socket whose bytes are protected by TLS: the socket channel reads and writes through it as it would through the kernel.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/tls/record.h"

namespace vesper::tls {

// Send() and Receive() may run at the same time, each in one thread at a time. Nothing waits.
class Stream {
 public:
  // The non-blocking socket stays the caller's. nullptr with a sentence.
  static std::unique_ptr<Stream> Make(int socket, const Secrets& secrets, End end, std::string* error);

  // The same socket by another number, between calls.
  void UseSocket(int socket) { socket_ = socket; }

  // As sendmsg(): how much of the pieces was taken, or -1 and errno. What was taken may wait here: `unsent()`. Then another
  // Send(), of nothing if there is no more, goes on when the socket can be written to.
  ssize_t Send(std::span<const iovec> pieces);
  bool unsent() const { return sent_ != sealed_; }
  // As recvmsg(): 0 at the end of the stream, -1 and errno, where EPROTO is something that error() describes. Fewer bytes than
  // there is room for: no more are here.
  ssize_t Receive(std::span<const iovec> pieces);
  const std::string& error() const { return error_; }  // the receiving thread's

  // A key protects so many records and no more (RFC 8446, 5.5, allows three times as many). For tests.
  void set_records_of_a_key(uint64_t records) { records_of_a_key_ = records; }

 private:
  explicit Stream(int socket) : socket_(socket) {}
  bool Flush();
  bool SealKeyUpdate();
  // Opens the record at the beginning of the inbox, which is whole.
  void OpenRecord(std::span<uint8_t> room, size_t* got);
  void TakeOther(RecordType type, std::span<const uint8_t> content);
  void Fail(std::string error);
  // The length of the whole record that the inbox begins with, 0 when its header is not here yet.
  size_t RecordBytes() const;
  // 1 when bytes came, 0 at the end, -1 and errno.
  ssize_t Fill(bool* drained);

  int socket_;
  uint64_t records_of_a_key_ = uint64_t{1} << 23;
  std::atomic<bool> update_wanted_ = false;

  std::unique_ptr<RecordCipher> sealer_;
  std::unique_ptr<uint8_t[]> outbox_;
  size_t sealed_ = 0, sent_ = 0;  // of outbox_

  std::unique_ptr<RecordCipher> opener_;
  std::unique_ptr<uint8_t[]> inbox_;
  size_t begin_ = 0, end_ = 0;         // of inbox_
  std::unique_ptr<uint8_t[]> opened_;  // of a record that was longer than the room for it
  size_t opened_begin_ = 0, opened_end_ = 0;
  size_t idle_records_ = 0;  // in a row that brought nothing
  bool ended_ = false;
  std::string error_;
};

}  // namespace vesper::tls
