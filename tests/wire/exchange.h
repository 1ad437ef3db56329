// One command's way there and back: filled, encoded, decoded, taken by the recording driver, answered, and decoded again.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "generated/wire/codecs.h"
#include "runtime/arena.h"
#include "tests/wire/compare.h"

namespace vesper::test {

class Exchange {
 public:
  Exchange(const CommandTable& command, uint64_t seed, Shape shape, bool native);
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  // The steps, in this order; each returns what differed, or "".
  void Encode();
  std::string Deliver();  // decodes, compares, calls the driver, which answers
  std::string Return();   // encodes the reply, decodes it in the client, compares

  // Instead of these: calls `entry`, of a client whose session is lost, on its `dispatchable`. Every output must be zero, every
  // count 0.
  std::string Unanswered(void* dispatchable, PFN_vkVoidFunction entry);

  const CommandTable& command() const { return command_; }
  const wire::CommandCodec& codec() const { return codec_; }
  const wire::ByteBuffer& request() const { return request_; }
  const wire::ByteBuffer& reply() const { return reply_; }
  Memory& memory() { return *memory_; }
  uint8_t* client_args() { return client_args_; }
  Handles& handles() { return handles_; }
  Random& random() { return random_; }
  const Filler& filler() const { return filler_; }

  // The driver's side of Deliver().
  uint64_t Called(const uint8_t* args);

 private:
  std::string CompareIds(const uint8_t* args);

  const CommandTable& command_;
  const wire::CommandCodec& codec_;
  Random random_;
  Handles handles_;
  Memory* memory_;
  Shape shape_;
  Filler filler_;
  Arena arena_;
  wire::ByteBuffer request_, reply_;
  uint8_t* client_args_;
  std::vector<uint64_t> server_args_;
  std::string difference_;
  bool called_ = false, failed_ = false;
};

// How many iterations visit every struct of every chain that the command reaches.
size_t LongestChain(const CommandTable& command);
// Those of a command's round trips, in turn.
std::vector<Shape> Shapes(const CommandTable& command);
// Everything that the command can reach, in its roles.
void Reach(const Struct& s, Role role, Filler::Visited* found);

// All iterations of one command; the first difference, or "".
std::string RoundTrip(const CommandTable& command);

// What one command's tests do; each fails the current GoogleTest test.
void TestTruncation(const CommandTable& command);
void TestFlips(const CommandTable& command);

}  // namespace vesper::test
