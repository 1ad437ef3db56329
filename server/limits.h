// What one session may use of the server. The defaults are generous: they end programs that have gone wild and hostile
// clients, not large ones. runtime/wire/limits.h bounds single messages and arrays.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/handle_table.h"
#include "runtime/wire/limits.h"
#include "server/outbox.h"

namespace vesper::server {

struct SessionLimits {
  uint32_t objects = HandleTable::kMaxSlots;      // alive at the same time
  size_t message_bytes = wire::kMaxMessageBytes;  // one batch of commands
  size_t command_bytes = wire::kMaxArenaBytes;    // one decoded command
  size_t queued_bytes = size_t{2} << 30;          // decoded commands that wait for the pool or a queue
  size_t unread_bytes = Outbox::kDefaultLimit;    // what the client has not read yet
};

}  // namespace vesper::server
