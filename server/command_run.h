// One command on its way through the server: what it was decoded into, and what has to be done when
// it ends. Runs are used one after the other by the session's reader; one that continues on another
// thread is kept by that thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/arena.h"
#include "runtime/descriptor.h"
#include "server/command_handles.h"

namespace vesper::server {

struct CommandRun : std::enable_shared_from_this<CommandRun> {
  CommandRun(HandleTable* table, size_t arena_bytes) : handles(table), arena(arena_bytes) {}
  ~CommandRun() {
    if (queued_bytes != nullptr) *queued_bytes -= counted_bytes;
  }
  CommandRun(const CommandRun&) = delete;
  CommandRun& operator=(const CommandRun&) = delete;

  // Counts what it holds now in `total`, which outlives it, until it is gone.
  void Count(std::atomic<size_t>* total) {
    counted_bytes = sizeof(*this) + Arena::kFirstBlock + arena.used();
    queued_bytes = total;
    *total += counted_bytes;
  }

  CommandHandles handles;
  Arena arena;
  uint16_t command = 0;
  bool wants_reply = false;
  uint64_t sequence = 0;
  void* args = nullptr;                            // in the arena
  Descriptor descriptor;                           // goes with the reply
  bool kept = false;                               // someone beside the reader holds it
  bool reply_deferred = false;                     // whoever keeps it sends the reply
  std::vector<ObjectId> pins;                      // of a command that runs on the pool or waits
  std::vector<uint8_t> bytes;                      // of a command that waits: it is decoded again when it runs
  std::vector<ObjectId> keys;                      // what it names, in terms of order (CommandHandles::OrderKeys)
  std::vector<ObjectId> holds;                     // those of them that later commands wait for
  std::vector<std::shared_ptr<CommandRun>> after;  // it runs when they have
  std::atomic<bool> done = false;                  // of a command that runs on the pool or waits
  std::atomic<size_t>* queued_bytes = nullptr;
  size_t counted_bytes = 0;
};

}  // namespace vesper::server
