#include "server/session/query_uses.h"

#include <algorithm>

namespace vesper::server {

template <typename Map>
void QueryUses::Prune(Map* map, size_t* at) {
  if (map->size() < *at) return;
  const HandleTable::Lock lock = table_->Acquire();
  std::erase_if(*map, [&](const auto& entry) { return table_->Find(lock, entry.first) == nullptr; });
  *at = std::max<size_t>(256, 2 * map->size());
}

void QueryUses::Begin(ObjectId commands) {
  const MutexLock lock(mutex_);
  if (!pools_.empty()) pools_.erase(commands);
}

void QueryUses::Record(ObjectId commands, ObjectId pool) {
  const MutexLock lock(mutex_);
  Prune(&pools_, &prune_pools_at_);
  std::vector<ObjectId>& pools = pools_[commands];
  if (std::find(pools.begin(), pools.end(), pool) == pools.end()) pools.push_back(pool);
}

void QueryUses::Execute(ObjectId commands, ObjectId secondary) {
  for (const ObjectId pool : PoolsOf(secondary)) Record(commands, pool);
}

void QueryUses::Carry(ObjectId commands, ObjectId named) {
  const HandleType type = table_->TypeOfPeer(named);
  if (type == HandleType::kQueryPool) Record(commands, named);
  if (type == HandleType::kCommandBuffer) Execute(commands, named);
}

std::vector<ObjectId> QueryUses::PoolsOf(ObjectId commands) {
  const MutexLock lock(mutex_);
  const auto found = pools_.find(commands);
  return found == pools_.end() ? std::vector<ObjectId>{} : found->second;
}

void QueryUses::Submit(std::span<const ObjectId> commands, Queue* queue, uint64_t serial) {
  const MutexLock lock(mutex_);
  if (pools_.empty()) return;
  Prune(&uses_, &prune_uses_at_);
  for (const ObjectId each : commands) {
    const auto found = pools_.find(each);
    if (found == pools_.end()) continue;
    for (const ObjectId pool : found->second) {
      std::vector<Use>& uses = uses_[pool];
      const auto same = std::find_if(uses.begin(), uses.end(), [&](const Use& use) { return use.queue == queue; });
      if (same == uses.end()) {
        uses.push_back({queue, serial});
      } else {
        same->serial = serial;
      }
    }
  }
}

std::vector<QueryUses::Use> QueryUses::LastUses(ObjectId pool) {
  const MutexLock lock(mutex_);
  const auto found = uses_.find(pool);
  return found == uses_.end() ? std::vector<Use>{} : found->second;
}

}  // namespace vesper::server
