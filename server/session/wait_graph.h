// Keeps in order the commands that cannot run at once: slow commands, which run on the pool, and commands that depend on them.
// It knows ids and their order only. What Vulkan says of them, and how commands run, is in server/session/parking.cpp.
//
// Records wait as the bytes they came in. Those that follow each other in one order (all that is recorded in a command pool
// while its first record waits) make up one unit, whatever their number: a waiting record costs its bytes, and each object that
// a unit depends on is noted once. An edge is made when a record is added, and removed when the unit that it comes from has
// ended; so the work at the end of a unit is proportional to the units that become ready by it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "runtime/object_id.h"

namespace vesper::server {

// Records that run one after the other on one thread. The lock of the graph's owner guards a unit until it is ready. From then
// until it has ended it belongs to the thread that runs it.
struct WaitingUnit {
  std::vector<uint8_t> records;  // runtime/wire/record.h
  uint64_t issued = 0;           // the order of units
  uint64_t sequence = 0;         // of the reply to its only record, if that wants one
  size_t charged = 0;            // of the session's limit
  bool slow = false;
  bool told = false;  // nobody waits for a reply, so the client is sent an event with the result for each object made
  bool open = false;  // more records may join it

  // The graph's.
  bool ready = false;
  size_t unmet = 0;
  std::unordered_set<ObjectId> noted;  // every object that it pins or is ordered by
  std::vector<ObjectId> pins;
  std::vector<ObjectId> holds;
  std::vector<ObjectId> makes;
  std::vector<ObjectId> carried;
  std::vector<std::shared_ptr<WaitingUnit>> followers;
};

// What one command, which waits or will be waited for, has to do with objects.
struct WaitingRecord {
  std::span<const ObjectId> named;        // it runs after the unit that makes one of these
  std::span<const ObjectId> keys;         // it runs after the last unit that holds one of these
  std::span<const ObjectId> holds;        // keys for which later commands wait until it has run
  std::span<const ObjectId> pins;         // may not be destroyed before it has run
  std::span<const ObjectId> makes;        // pending until it has run
  std::span<const ObjectId> after_users;  // it runs after every unit that pins one of these
  std::span<const ObjectId> carries;      // pins that a command which inherits from it uses as well
  bool inherits = false;                  // it uses what the commands carry that come before it by its keys
  bool joins = false;                     // it may become part of the unit before it in its order
  bool slow = false;
  bool told = false;
  uint64_t sequence = 0;
};

// Owned by the session, whose waiting_mutex_ guards every call.
class WaitGraph {
 public:
  using Unit = std::shared_ptr<WaitingUnit>;

  struct Added {
    Unit unit;
    bool ready = false;           // the unit waits for nothing, so the caller runs it
    std::vector<ObjectId> pins;   // objects that the unit had not pinned before
    std::vector<ObjectId> holds;  // keys that the unit had not held before
  };
  // Notes the command; the caller appends its bytes to the unit.
  Added Add(const WaitingRecord& record);
  // A ready unit has run. Returns the units that are ready now, in the order of issue.
  std::vector<Unit> End(const Unit& unit);

  size_t size() const { return units_; }

 private:
  WaitingUnit* Joinable(const WaitingRecord& record) const;
  static void Follow(WaitingUnit* before, const Unit& unit, std::unordered_set<const WaitingUnit*>* followed);
  void FollowAll(const WaitingRecord& record, const Unit& unit);
  std::vector<ObjectId> Inherited(const WaitingRecord& record) const;

  uint64_t issued_ = 0;
  size_t units_ = 0;
  std::unordered_map<ObjectId, Unit> makers_;  // of what is pending
  std::unordered_map<ObjectId, Unit> last_;    // that holds a key
  std::unordered_map<ObjectId, std::unordered_set<Unit>> users_;
};

}  // namespace vesper::server
