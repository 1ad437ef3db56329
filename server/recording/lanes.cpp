#include "server/recording/lanes.h"

#include <algorithm>
#include <system_error>
#include <thread>

namespace vesper::server {

size_t LanesOfMachine() {
  const size_t processors = std::thread::hardware_concurrency();
  return processors < limits::kProcessorsOfLane ? 0
                                                : std::min(processors / limits::kProcessorsOfLane, limits::kMaxLanes);
}

ObjectId Lanes::PoolOf(ObjectId commands) {
  const HandleTable::Lock lock = table_->Acquire();
  const Object* object = table_->Find(lock, commands);
  return object == nullptr ? kNullObject : object->owner;
}

// Pools take turns; one that has not been seen for long gets a lane anew, when nothing of it can be on its old one.
void Lanes::Change(ObjectId commands) {
  current_ = commands;
  recorded_ = 0;
  lane_ = nullptr;
  const ObjectId pool = lanes_.empty() ? kNullObject : PoolOf(commands);
  if (pool == kNullObject) return;
  auto found = std::find_if(pools_.begin(), pools_.end(), [&](const Pool& each) { return each.id == pool; });
  if (found == pools_.end()) {
    if (pools_.size() == limits::kPoolsOfLanes) {
      SettleAll();
      pools_.clear();
      current_ = commands;
    }
    pools_.push_back({pool, next_++ % lanes_.size()});
    found = pools_.end() - 1;
  }
  lane_ = &lanes_[found->lane];
}

// nullptr where no thread is to be had: the reader makes the calls itself.
Lane* Lanes::Start() {
  try {
    *lane_ = std::make_unique<Lane>(session_, bytes_);
  } catch (const std::system_error&) {
    lane_ = nullptr;
    return nullptr;
  }
  return lane_->get();
}

void Lanes::Post() {
  for (const auto& lane : lanes_) {
    if (lane != nullptr) lane->Post();
  }
}

void Lanes::Settle(ObjectId commands) {
  current_ = kNullObject;
  if (pools_.empty()) return;
  const ObjectId pool = PoolOf(commands);
  for (const Pool& each : pools_) {
    if (each.id == pool && lanes_[each.lane] != nullptr) lanes_[each.lane]->Settle();
  }
}

void Lanes::SettleAll() {
  current_ = kNullObject;
  for (const auto& lane : lanes_) {
    if (lane != nullptr) lane->Settle();
  }
}

}  // namespace vesper::server
