// Which submits of a session use which query pools, so that results are read after the submits that they follow, and behind
// no others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "runtime/handle_table.h"
#include "runtime/mutex.h"
#include "runtime/object_id.h"

namespace vesper::server {

class Queue;

// Owned by the session. Thread-safe; takes the handle table's lock under its own.
class QueryUses {
 public:
  explicit QueryUses(HandleTable* table) : table_(table) {}

  // A command buffer begins anew. It has a command that names the pool. It executes the commands of another command buffer.
  void Begin(ObjectId commands);
  void Record(ObjectId commands, ObjectId pool);
  void Execute(ObjectId commands, ObjectId secondary);
  // One or the other, of an object that its command names; nothing for other types.
  void Carry(ObjectId commands, ObjectId named);
  // The pools that its commands use.
  std::vector<ObjectId> PoolsOf(ObjectId commands);

  // Those command buffers are submitted to the queue, as its submit number `serial`.
  void Submit(std::span<const ObjectId> commands, Queue* queue, uint64_t serial);
  struct Use {
    Queue* queue;
    uint64_t serial;
  };
  // The last submits, of each queue, that use the pool.
  std::vector<Use> LastUses(ObjectId pool);

 private:
  template <typename Map>
  void Prune(Map* map, size_t* at);

  HandleTable* const table_;
  Mutex mutex_;
  std::unordered_map<ObjectId, std::vector<ObjectId>> pools_ VESPER_GUARDED_BY(mutex_);  // by command buffer
  std::unordered_map<ObjectId, std::vector<Use>> uses_ VESPER_GUARDED_BY(mutex_);        // by pool
  // At these sizes of the maps, entries of objects that are gone are dropped.
  size_t prune_pools_at_ VESPER_GUARDED_BY(mutex_) = 256;
  size_t prune_uses_at_ VESPER_GUARDED_BY(mutex_) = 256;
};

}  // namespace vesper::server
