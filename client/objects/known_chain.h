// What a physical device says of itself in the structs of one chain: all that it may be asked about, asked for at once and ahead.
// Whatever chain of them a program builds is then answered from memory.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "client/connection/connection.h"
#include "runtime/mutex.h"

namespace vesper::client {

struct KnownChain {
  struct Member {
    int32_t type;
    uint32_t offset;  // in `words`, in bytes
    uint32_t size;
  };
  Mutex mutex;
  std::shared_ptr<LaterReply> asked VESPER_GUARDED_BY(mutex);  // until the answer is in `words`
  bool known VESPER_GUARDED_BY(mutex) = false;
  std::vector<uint64_t> words VESPER_GUARDED_BY(mutex);  // the root, then each member, linked
  std::vector<Member> members VESPER_GUARDED_BY(mutex);  // sorted by type
};

}  // namespace vesper::client
