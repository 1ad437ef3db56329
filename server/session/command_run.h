// One command on its way through the server: what it was decoded into, and what has to be done when
// it ends. Runs are used one after the other by the session's reader; one that continues on another
// thread is kept by that thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "runtime/arena.h"
#include "runtime/descriptor.h"
#include "server/handles/command_handles.h"

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
  void* args = nullptr;         // in the arena
  MemoryName memory;            // goes with the reply
  bool kept = false;            // another thread may hold it as well as the reader
  bool reply_deferred = false;  // the thread that keeps it sends the reply
  std::atomic<size_t>* queued_bytes = nullptr;
  size_t counted_bytes = 0;
};

}  // namespace vesper::server
