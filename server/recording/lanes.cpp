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

void Lanes::Change(ObjectId commands) {
  current_ = commands;
  recorded_ = 0;
  lane_ = count_ == 0 ? nullptr : LaneOf(commands);
}

// Pools take turns; one that has not been seen for long gets a lane anew, when nothing of it can be on its old one.
Lane* Lanes::LaneOf(ObjectId commands) {
  ObjectId pool = kNullObject;
  {
    const HandleTable::Lock lock = table_->Acquire();
    if (const Object* object = table_->Find(lock, commands)) pool = object->owner;
  }
  if (pool == kNullObject) return nullptr;
  auto found = std::find_if(pools_.begin(), pools_.end(), [&](const Pool& each) { return each.id == pool; });
  if (found == pools_.end()) {
    if (pools_.size() == limits::kPoolsOfLanes) {
      SettleAll();
      pools_.clear();
    }
    pools_.push_back({pool, next_++ % count_});
    found = pools_.end() - 1;
  }
  try {
    while (lanes_.size() <= found->lane) lanes_.push_back(std::make_unique<Lane>(session_, bytes_));
  } catch (const std::system_error&) {  // no more threads: the reader makes the calls itself
    return nullptr;
  }
  return lanes_[found->lane].get();
}

void Lanes::Post() {
  for (const auto& lane : lanes_) lane->Post();
}

void Lanes::Settle(ObjectId commands) {
  if (lanes_.empty()) return;
  if (Lane* lane = LaneOf(commands)) lane->Settle();
  current_ = kNullObject;
}

void Lanes::SettleAll() {
  for (const auto& lane : lanes_) lane->Settle();
  current_ = kNullObject;
}

}  // namespace vesper::server
