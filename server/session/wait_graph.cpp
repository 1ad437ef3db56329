#include "server/session/wait_graph.h"

#include <algorithm>
#include <utility>

namespace vesper::server {

// The unit that the record may join. It is the last unit by each of the record's keys; therefore the record never waits for a
// unit that waits for this one, and joining makes no circle.
WaitingUnit* WaitGraph::Joinable(const WaitingRecord& record) const {
  if (!record.joins) return nullptr;
  WaitingUnit* unit = nullptr;
  for (const ObjectId key : record.keys) {
    const auto last = last_.find(key);
    if (last == last_.end()) continue;
    if (unit != nullptr && unit != last->second.get()) return nullptr;
    unit = last->second.get();
  }
  return unit != nullptr && unit->open && !unit->ready ? unit : nullptr;
}

void WaitGraph::Follow(WaitingUnit* before, const Unit& unit, std::unordered_set<const WaitingUnit*>* followed) {
  if (before == unit.get() || !followed->insert(before).second) return;
  before->followers.push_back(unit);
  ++unit->unmet;
}

// Only for objects that the unit has not noted: it already waits for the makers and holders of the others.
void WaitGraph::FollowAll(const WaitingRecord& record, const Unit& unit) {
  std::unordered_set<const WaitingUnit*> followed;
  const auto follow = [&](const std::unordered_map<ObjectId, Unit>& units, ObjectId id) {
    if (unit->noted.contains(id)) return;
    const auto found = units.find(id);
    if (found != units.end()) Follow(found->second.get(), unit, &followed);
  };
  for (const ObjectId id : record.named) follow(makers_, id);
  for (const ObjectId id : record.keys) follow(last_, id);
  for (const ObjectId id : record.after_users) {
    const auto users = users_.find(id);
    if (users == users_.end()) continue;
    for (const Unit& user : users->second) Follow(user.get(), unit, &followed);
  }
}

std::vector<ObjectId> WaitGraph::Inherited(const WaitingRecord& record) const {
  std::vector<ObjectId> inherited(record.carries.begin(), record.carries.end());
  for (const ObjectId key : record.keys) {
    const auto last = record.inherits ? last_.find(key) : last_.end();
    if (last == last_.end()) continue;
    inherited.insert(inherited.end(), last->second->carried.begin(), last->second->carried.end());
  }
  return inherited;
}

WaitGraph::Added WaitGraph::Add(const WaitingRecord& record) {
  Added added;
  if (const WaitingUnit* joined = Joinable(record)) {
    const auto same = [&](ObjectId key) {
      const auto last = last_.find(key);
      return last != last_.end() && last->second.get() == joined;
    };
    added.unit = last_.at(*std::find_if(record.keys.begin(), record.keys.end(), same));
  } else {
    added.unit = std::make_shared<WaitingUnit>();
    added.unit->issued = ++issued_;
    added.unit->open = record.joins;
    added.unit->slow = record.slow;
    added.unit->told = record.told;
    added.unit->sequence = record.sequence;
    ++units_;
  }
  const Unit& unit = added.unit;
  FollowAll(record, unit);
  const auto pin = [&](ObjectId id) {
    if (!users_[id].insert(unit).second) return;
    unit->pins.push_back(id);
    added.pins.push_back(id);
  };
  for (const ObjectId id : record.pins) pin(id);
  for (const ObjectId id : Inherited(record)) {
    pin(id);
    if (std::find(unit->carried.begin(), unit->carried.end(), id) == unit->carried.end()) unit->carried.push_back(id);
  }
  for (const ObjectId id : record.holds) {
    Unit& last = last_[id];
    if (last == unit) continue;
    last = unit;
    unit->holds.push_back(id);
    added.holds.push_back(id);
  }
  for (const ObjectId id : record.makes) {
    makers_[id] = unit;
    unit->makes.push_back(id);
  }
  unit->noted.insert(record.named.begin(), record.named.end());
  unit->noted.insert(record.keys.begin(), record.keys.end());
  added.ready = unit->ready = unit->unmet == 0;
  return added;
}

std::vector<WaitGraph::Unit> WaitGraph::End(const Unit& unit) {
  --units_;
  for (const ObjectId id : unit->makes) {
    const auto maker = makers_.find(id);
    if (maker != makers_.end() && maker->second == unit) makers_.erase(maker);
  }
  for (const ObjectId id : unit->holds) {
    const auto last = last_.find(id);
    if (last != last_.end() && last->second == unit) last_.erase(last);
  }
  for (const ObjectId id : unit->pins) {
    const auto users = users_.find(id);
    users->second.erase(unit);
    if (users->second.empty()) users_.erase(users);
  }
  std::vector<Unit> ready;
  for (Unit& follower : std::exchange(unit->followers, {})) {
    if (--follower->unmet != 0) continue;
    follower->ready = true;
    ready.push_back(std::move(follower));
  }
  std::sort(ready.begin(), ready.end(), [](const Unit& a, const Unit& b) { return a->issued < b->issued; });
  return ready;
}

}  // namespace vesper::server
