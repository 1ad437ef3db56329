// The part of Session that runs slow commands on the pool, and keeps in order what depends on them:
// a command that names a pending object is parked, together with later ones that depend on it,
// while everything else goes on.
#include <algorithm>
#include <iterator>
#include <utility>

#include "server/session.h"

namespace vesper::server {
namespace {

// What may wait; beyond it the reader waits, too.
constexpr size_t kMaxParkedBytes = size_t{64} << 20;

// What a parked command keeps from others until it ran. Everything else that it names it only
// reads, or the application does not touch it meanwhile.
bool OrdersLaterCommands(HandleType type) {
  return type == HandleType::kCommandPool || type == HandleType::kCommandBuffer || type == HandleType::kQueue;
}

// Belongs to no thread of the application: never held.
bool IsShared(HandleType type) {
  return type == HandleType::kInstance || type == HandleType::kPhysicalDevice || type == HandleType::kDevice;
}

}  // namespace

// Pins what the command names. Must have been decoded by the reader.
void Session::Enter(const std::shared_ptr<CommandRun>& run) {
  run->pins = run->handles.EnterPending();
  const std::lock_guard lock(parked_mutex_);
  if (kServerCommands[run->command].after_users) {
    const auto uses = [&](const auto& other) {
      return std::any_of(run->pins.begin(), run->pins.end(), [&](ObjectId id) {
        return std::find(other->pins.begin(), other->pins.end(), id) != other->pins.end();
      });
    };
    std::copy_if(in_flight_.begin(), in_flight_.end(), std::back_inserter(run->after), uses);
  }
  in_flight_.insert(run);
}

// The command was decoded, by the reader or after waiting, and what it makes and names is pending
// and pinned.
void Session::StartSlow(const std::shared_ptr<CommandRun>& run) {
  ++stats_.slow;
  pool_.Post([this, run] {
    if (run->handles.inert()) {
      Skip(run.get());
    } else {
      Invoke(run.get());
    }
    Unpark(run);
    RunParked();
  });
}

// The command names something that is pending, or that a parked command holds; one that destroys,
// or comes after users, something that is in use. It was decoded, so that its ids mean what they
// meant when it was issued: what it names is pinned, and what it makes is pending. The client may
// use the slots of what it destroys again at once, so those entries outlive their ids.
void Session::Park(const Record& record, uint64_t unparked) {
  const std::shared_ptr<CommandRun> run = KeepRun();
  run->bytes.assign(record.body.begin(), record.body.end());
  run->keys = run->handles.OrderKeys();
  if (kServerCommands[run->command].destroys) {
    const HandleTable::Lock lock = table_.Acquire();
    for (const ObjectId id : run->handles.named()) {
      Object* object = table_.Find(lock, id);
      if (object != nullptr && !IsShared(object->type)) object->outlives_id = true;
    }
  } else {
    Enter(run);
  }
  HoldOrder(run.get(), kServerCommands[run->command].submit);
  {
    std::unique_lock lock(parked_mutex_);
    parked_changed_.wait(lock, [this] { return parked_bytes_ < kMaxParkedBytes; });
    parked_bytes_ += run->bytes.size() + sizeof(CommandRun);
    parked_.push_back(run);
  }
  if (unparked_ != unparked) RunParked();  // what it waits for may have ended meanwhile
}

void Session::HoldOrder(CommandRun* run, bool submit) {
  const HandleTable::Lock lock = table_.Acquire();
  for (const ObjectId id : run->keys) {
    const HandleType type = table_.TypeOfPeer(id);
    if (!OrdersLaterCommands(type) && !(submit && !IsShared(type))) continue;
    table_.Hold(lock, id);
    run->holds.push_back(id);
  }
}

void Session::Unpark(const std::shared_ptr<CommandRun>& run) {
  {
    const HandleTable::Lock lock = table_.Acquire();
    for (const ObjectId id : run->pins) table_.Unpin(lock, id);
    for (const ObjectId id : run->holds) table_.Release(lock, id);
  }
  {
    const std::lock_guard lock(parked_mutex_);
    in_flight_.erase(run);
    run->done = true;
  }
  ++unparked_;
}

// `held`: by those parked before it. What orders commands is not looked at for pins: later ones may
// have pinned it.
bool Session::IsReady(const CommandRun& run, const std::unordered_set<ObjectId>& held) {
  if (!held.empty() && std::any_of(run.keys.begin(), run.keys.end(), [&](ObjectId id) { return held.contains(id); }))
    return false;
  if (!std::all_of(run.after.begin(), run.after.end(), [](const auto& user) { return user->done.load(); }))
    return false;
  const bool destroys = kServerCommands[run.command].destroys;
  const HandleTable::Lock lock = table_.Acquire();
  const std::vector<ObjectId>& named = run.handles.named();
  return std::none_of(named.begin(), named.end(), [&](ObjectId id) {
    const Object* object = table_.Find(lock, id);
    if (object == nullptr || IsShared(object->type)) return false;
    if (object->state == ObjectState::kPending) return true;
    return destroys && object->pins != 0 && !OrdersLaterCommands(object->type);
  });
}

// Runs the parked commands whose turn has come, in their order. One thread does, for all.
void Session::RunParked() {
  std::unique_lock lock(parked_mutex_);
  parked_again_ = true;
  if (parked_run_) return;
  parked_run_ = true;
  while (std::exchange(parked_again_, false)) {
    const std::vector<std::shared_ptr<CommandRun>> work = std::exchange(parked_, {});
    std::vector<std::shared_ptr<CommandRun>> waiting;
    lock.unlock();
    std::unordered_set<ObjectId> held;
    size_t freed = 0;
    for (const auto& run : work) {
      if (IsReady(*run, held)) {
        freed += run->bytes.size() + sizeof(CommandRun);
        Resume(run);
      } else {
        held.insert(run->holds.begin(), run->holds.end());
        waiting.push_back(run);
      }
    }
    lock.lock();
    parked_again_ |= freed != 0;  // pins have gone
    parked_bytes_ -= freed;
    parked_.insert(parked_.begin(), waiting.begin(), waiting.end());
    parked_changed_.notify_all();
  }
  parked_run_ = false;
}

void Session::Resume(const std::shared_ptr<CommandRun>& run) {
  run->arena.Reset();
  run->after.clear();
  const bool destroys = kServerCommands[run->command].destroys;
  Decode(run.get(), run->bytes, {.destroys = destroys, .resumed = true});  // as it did before
  if (kServerCommands[run->command].slow) {
    StartSlow(run);
    return;
  }
  if (run->handles.inert()) {
    Skip(run.get());
  } else {
    Invoke(run.get());
  }
  Unpark(run);
}

// Jobs run parked commands before they end, and no parked command waits for anything but jobs.
void Session::DrainJobs() { pool_.Drain(); }

}  // namespace vesper::server
