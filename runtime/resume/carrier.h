// A connection that is to take another's place, and what its ends say to each other before it does.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/descriptor.h"
#include "runtime/tls/stream.h"
#include "runtime/transport/deadline.h"

namespace vesper::resume {

// A connected non-blocking stream socket and what protects its bytes, or nullptr. Not thread-safe.
struct Carrier {
  Descriptor socket;
  std::unique_ptr<tls::Stream> tls;

  // Of an accepted socket whose TLS handshake is done, or of one without (`secrets` are zeros). False with a sentence.
  bool Accept(Descriptor accepted, const tls::Secrets& secrets, std::string* error);
  // At once or not at all: a new connection has room for it.
  bool Send(std::span<const uint8_t> bytes);
  // One whole message (runtime/handshake.h) of at most `most` bytes, and no byte more of the stream. False when none comes in time.
  bool Receive(size_t most, const transport::Deadline& deadline, std::vector<uint8_t>* frame);

 private:
  bool ReceiveMore(size_t bytes, const transport::Deadline& deadline, std::vector<uint8_t>* frame) const;
};

}  // namespace vesper::resume
