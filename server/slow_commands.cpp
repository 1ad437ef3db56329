// The part of Session that runs slow commands on the pool and keeps alive what they use.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "server/command_result.h"
#include "server/session.h"

namespace vesper::server {

// Decoded by the reader, so that ids mean what they meant when the command was issued. One that
// names a pending object is decoded again on the pool, where it may wait for it; the objects that
// it names are pinned until then.
void Session::StartSlow(const Record& record) {
  ++stats_.slow;
  const std::shared_ptr<CommandRun> run = KeepRun();
  const bool decode_again = run->handles.blocked();
  if (decode_again) run->bytes.assign(record.body.begin(), record.body.end());
  run->pins = run->handles.EnterPending();
  pool_.Post([this, run, decode_again] { RunSlow(run, decode_again); });
}

void Session::RunSlow(const std::shared_ptr<CommandRun>& run, bool decode_again) {
  if (decode_again) {
    run->arena.Reset();
    Decode(run.get(), run->bytes, {});  // the same bytes decoded well before
  }
  if (run->handles.inert()) {
    Skip(run.get());
  } else {
    Invoke(run.get());
  }
  if (!run->wants_reply) {
    for (const CommandHandles::NewObject& object : run->handles.new_objects()) {
      events_.ObjectReady(object.id, run->handles.OutcomeOf(object.id));
    }
  }
  {
    const HandleTable::Lock lock = table_.Acquire();
    for (const ObjectId id : run->pins) table_.Unpin(lock, id);
  }
  RunDeferred();
}

// The command names an object that a job makes or uses; it runs when that job has ended. The client
// may use the slots of what it destroys again at once, so their entries outlive their ids.
void Session::DeferDestroy(const Record& record) {
  const std::shared_ptr<CommandRun> run = KeepRun();
  run->bytes.assign(record.body.begin(), record.body.end());
  {
    const HandleTable::Lock lock = table_.Acquire();
    for (const ObjectId id : run->handles.named()) {
      Object* object = table_.Find(lock, id);
      if (object == nullptr || IsDispatchable(object->type)) continue;
      object->outlives_id = true;
      run->pins.push_back(id);
    }
  }
  {
    const std::lock_guard lock(deferred_mutex_);
    deferred_.push_back(run);
  }
  RunDeferred();  // the job may have ended meanwhile
}

bool Session::IsFree(const std::vector<ObjectId>& ids) {
  const HandleTable::Lock lock = table_.Acquire();
  return std::none_of(ids.begin(), ids.end(), [&](ObjectId id) {
    const Object* object = table_.Find(lock, id);
    return object != nullptr && (object->pins != 0 || object->state == ObjectState::kPending);
  });
}

void Session::RunDeferred() {
  std::vector<std::shared_ptr<CommandRun>> ready;
  {
    const std::lock_guard lock(deferred_mutex_);
    const auto middle = std::stable_partition(deferred_.begin(), deferred_.end(),
                                              [&](const auto& run) { return !IsFree(run->pins); });
    ready.assign(middle, deferred_.end());
    deferred_.erase(middle, deferred_.end());
  }
  for (const auto& run : ready) {
    run->arena.Reset();
    Decode(run.get(), run->bytes, {.wait_for_pending = false, .destroys = true});
    if (run->handles.inert()) {
      Skip(run.get());
    } else {
      Invoke(run.get());
    }
  }
}

}  // namespace vesper::server
