// Which recorded commands are made on which lane. The calls that fill one command buffer, and those that fill others of its pool,
// are made by one thread at a time, as Vulkan wants it; those of other pools, and all else that Vulkan lets a program do
// meanwhile, need not wait for them.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/handle_table.h"
#include "server/recording/lane.h"

namespace vesper::server {

// How many lanes are worth their threads on this machine; 0 where processors are so few that the reader does better alone.
size_t LanesOfMachine();

// The session's reader calls everything.
class Lanes {
 public:
  // No command has more than `bytes` of arguments. Threads start when they are first needed.
  Lanes(Session* session, HandleTable* table, size_t count, size_t bytes)
      : session_(session), table_(table), bytes_(bytes), lanes_(count) {}
  Lanes(const Lanes&) = delete;
  Lanes& operator=(const Lanes&) = delete;

  // Where the next command of that command buffer is made: on a lane, or, for nullptr, by the caller at once. Short
  // command buffers are not worth a wake-up, but are worth a lane that is awake.
  Lane* For(ObjectId commands) {
    if (commands != current_) Change(commands);
    if (lane_ == nullptr) return nullptr;
    if (++recorded_ > limits::kBeforeLane) return *lane_ != nullptr ? lane_->get() : Start();
    return *lane_ != nullptr && ((*lane_)->IsAwake() || !(*lane_)->IsIdle()) ? lane_->get() : nullptr;
  }
  // Lets the lanes make what has been prepared for them, when no more comes for now.
  void Post();
  // Before a call that must not be made beside the recording of that command buffer and others of its pool.
  void Settle(ObjectId commands);
  // Before a call that must not be made beside any recording.
  void SettleAll();

 private:
  struct Pool {
    ObjectId id;
    size_t lane;
  };
  void Change(ObjectId commands);
  Lane* Start();
  ObjectId PoolOf(ObjectId commands);

  Session* const session_;
  HandleTable* const table_;
  const size_t bytes_;
  std::vector<std::unique_ptr<Lane>> lanes_;  // null: not needed yet
  std::vector<Pool> pools_;                   // those seen last, of which each has its lane
  size_t next_ = 0;
  ObjectId current_ = kNullObject;
  std::unique_ptr<Lane>* lane_ = nullptr;  // the current command buffer's pool's place in lanes_; null: none
  uint32_t recorded_ = 0;                  // into it, without a pause
};

}  // namespace vesper::server
