// Submits that use query pools; see client/objects/query_pool.h.
#pragma once

#include <cstdint>
#include <vector>

#include "client/objects/object.h"
#include "client/objects/query_pool.h"

namespace vesper::client {

// The pools that some submits use, each with its changes after the last of these.
class QueryPoolsUsed {
 public:
  // With the lane held, before the submit is sent. May throw std::bad_alloc.
  void Note(const States& states, const CommandBuffer& commands, const SubmitPoint& point);
  // They have been sent: asks ahead for what the program has read of these pools.
  void AskAhead(Device* device) noexcept;

 private:
  struct Use {
    QueryPoolState* pool;
    uint64_t changes;
    uint32_t submits;
  };
  std::vector<Use> uses_;
};

}  // namespace vesper::client
