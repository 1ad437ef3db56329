// A stream of commands: what comes by a ring, or by the socket, and how far it is.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/arena.h"
#include "runtime/wire/encoder.h"
#include "server/venus/ring.h"
#include "server/venus/tables.h"

namespace vesper::venus {

// What a stream waits for before its next command.
enum class Hold : uint8_t {
  kNone,
  kReply,   // the session's, to the command at hand
  kRetry,   // the same command is to be asked again: what it waits for has not come to pass
  kSubmit,  // the socket has to say `value` for this ring
  kHead     // the ring `ring` has to come to `value`
};

// The command that the session is asked to answer.
struct Pending {
  const CommandTable* command = nullptr;
  uint8_t* args = nullptr;  // in the stream's arena
  std::vector<uint64_t> made;
  bool answers = false;  // the peer wants a reply
  bool retries = false;  // until it succeeds or the time is over
  std::chrono::steady_clock::time_point began, asked, deadline;
  uint32_t capacity = 0;  // of a list that is changed on its way
  uint64_t sequence = 0;
  wire::ByteBuffer record;
};

struct Stream {
  struct Piece {
    std::vector<uint8_t> bytes;
    size_t at = 0;
  };

  explicit Stream(size_t arena_bytes) : arena(arena_bytes) {}

  uint64_t key = 0;
  std::unique_ptr<Ring> ring;  // null for the socket
  std::vector<Piece> pieces;   // streams within streams; what is at work is the last
  uint32_t finished = 0;       // everything before this place of the ring is with the session, or done
  std::shared_ptr<Pages> replies;
  uint64_t reply_begin = 0, reply_size = 0, reply_at = 0;
  uint64_t submitted = 0;  // what the socket said last
  Hold hold = Hold::kNone;
  uint64_t value = 0;
  uint64_t awaited_ring = 0;
  Pending pending;
  Arena arena;

  // The outermost piece has been dealt with up to its `at`.
  void NoteFinished() {
    if (ring == nullptr || pieces.size() > 1) return;
    finished = ring->taken();
    if (!pieces.empty()) finished -= static_cast<uint32_t>(pieces.front().bytes.size() - pieces.front().at);
  }
};

}  // namespace vesper::venus
