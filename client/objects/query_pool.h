// What the client knows of a query pool: which submits use it, and answers about its queries that still hold. What nothing has
// used or reset since it was asked about, when all that used it before had completed, holds for good. What a program reads is
// asked for again, ahead, with each submit that uses the pool: the server answers that when the submit completes.
#pragma once

#include <vulkan/vulkan.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "client/base/ids.h"
#include "client/connection/connection.h"
#include "client/objects/sync.h"
#include "runtime/mutex.h"

namespace vesper::client {

// About a range of queries, in the packed form: values and availability, 64 bits each.
struct QueryAnswer {
  static constexpr uint64_t kPassing = 0;  // no number of changes

  uint32_t first = 0;
  uint32_t count = 0;
  std::vector<uint64_t> packed;  // empty: none
  VkResult result = VK_SUCCESS;
  uint64_t changes = kPassing;  // it holds while the pool has seen so many; kPassing: it was true once
  uint64_t as_of = 0;           // Session::completions() before it was asked for
  Clock::time_point asked_at{};
  // The next one, asked for ahead, and the changes that it will tell of.
  std::shared_ptr<LaterReply> coming;
  uint64_t coming_changes = kPassing;
  bool read = false;  // by the program, since it was last asked for ahead
};

struct QueryPoolState : ObjectState {
  using ObjectState::ObjectState;
  // Values that one query of the pool writes, or 0 where the client does not know: then results pass as they come.
  uint32_t values = 0;

  // Guarded by the lane: submits that use the pool, and resets by the host, counted from 1.
  uint64_t changes = 1;
  uint32_t unposted = 0;          // submits that are counted and may not have been sent yet
  std::vector<SubmitPoint> uses;  // the last of each queue

  // A submit uses the pool. May throw std::bad_alloc.
  void NoteUse(const SubmitPoint& point) {
    const auto same = std::find_if(uses.begin(), uses.end(), [&](const auto& use) { return use.queue == point.queue; });
    if (same == uses.end()) {
      uses.push_back(point);
    } else {
      *same = point;
    }
    ++changes;
    ++unposted;
  }
  // All that uses it was sent, and has completed.
  bool IsSettled() const {
    return unposted == 0 && std::all_of(uses.begin(), uses.end(), [](const SubmitPoint& use) { return use.Reached(); });
  }

  Mutex mutex;                                                // taken before the lane
  std::vector<QueryAnswer> answers VESPER_GUARDED_BY(mutex);  // the one that was read last comes last
};

}  // namespace vesper::client
