// The socket of the vtest protocol, by which Mesa's Venus driver reaches its renderer: messages of a length, a command and a body,
// and answers that repeat the command. Files go beside a byte of their own.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/descriptor.h"

namespace vesper::server {
class AgentPort;
}  // namespace vesper::server

namespace vesper::venus {

enum class Vtest : uint32_t {
  kUnref = 3,
  kBusyWait = 7,
  kCreateRenderer = 8,
  kPing = 10,
  kProtocolVersion = 11,
  kGetParam = 15,
  kGetCapset = 16,
  kContextInit = 17,
  kCreateBlob = 18,
  kSyncCreate = 19,
  kSyncUnref = 20,
  kSyncRead = 21,
  kSyncWrite = 22,
  kSyncWait = 23,
  kSubmit = 24
};

struct VtestMessage {
  Vtest command{};
  std::span<const uint8_t> body;  // valid until the next call
  // A word of the body; 0 beyond its end.
  uint32_t word(size_t index) const;
  uint64_t twin(size_t index) const { return word(index) | uint64_t{word(index + 1)} << 32; }
};

// Receives and answers on one thread; Shutdown() from any. Does not own the descriptor's other copies.
class VtestSocket {
 public:
  // `fd` becomes its own and does not block. With an agent, which lives longer, answers go through that.
  explicit VtestSocket(int fd, server::AgentPort* agent = nullptr);
  ~VtestSocket();
  VtestSocket(const VtestSocket&) = delete;
  VtestSocket& operator=(const VtestSocket&) = delete;

  int fd() const { return fd_; }
  // Whether there was a whole message; false as well when the connection has ended or is malformed.
  bool Next(VtestMessage* message);
  // Whether the peer has gone or sent what is no message: then why.
  bool ended() const { return ended_; }
  void NoteEnd() { ended_ = true; }
  const std::string& malformed() const { return malformed_; }

  // Waits while the peer takes nothing, for a while. False when it has gone.
  bool Answer(Vtest command, std::span<const uint32_t> words);
  bool SendFile(const MemoryName& memory);
  bool SendEvent(Descriptor event);
  void Shutdown() const;

  uint64_t received() const { return received_; }
  uint64_t sent() const { return sent_; }

 private:
  bool Fill();
  bool Send(std::span<const uint8_t> bytes, int file);

  const int fd_;
  server::AgentPort* const agent_;
  std::vector<uint8_t> buffer_;
  size_t at_ = 0;
  bool ended_ = false;
  std::string malformed_;
  std::atomic<uint64_t> received_ = 0, sent_ = 0;
};

}  // namespace vesper::venus
