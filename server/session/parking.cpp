// The part of Session that runs slow commands on the pool and keeps the commands that depend on them in order. A command waits
// when it names a pending object or depends on a command that waits. Everything else goes on.
#include <map>
#include <utility>

#include "runtime/wire/record.h"
#include "server/session/session.h"

namespace vesper::server {
namespace {

// Whether later commands that name an object of the type must wait until a waiting command that names it has run. The command
// only reads objects of other types, or Vulkan has the application leave them alone meanwhile.
bool OrdersLaterCommands(HandleType type) {
  return type == HandleType::kCommandPool || type == HandleType::kCommandBuffer || type == HandleType::kQueue ||
         type == HandleType::kDescriptorPool;
}

// Many threads of the application use it at once, so no command holds it.
bool IsShared(HandleType type) {
  return type == HandleType::kInstance || type == HandleType::kPhysicalDevice || type == HandleType::kDevice;
}

size_t CostOf(const WaitingUnit& unit) {
  return sizeof(WaitingUnit) + limits::kParkedUnitBytes + unit.records.capacity() +
         limits::kParkedNoteBytes * (unit.noted.size() + unit.pins.size());
}

void AppendRecord(std::vector<uint8_t>* records, wire::RecordHeader header, std::span<const uint8_t> body) {
  header.length = static_cast<uint32_t>(body.size());
  const auto* bytes = reinterpret_cast<const uint8_t*>(&header);
  records->insert(records->end(), bytes, bytes + sizeof(header));
  records->insert(records->end(), body.begin(), body.end());
  records->resize((records->size() + 7) / 8 * 8);
}

}  // namespace

// Says how the command, which the reader has decoded, depends on others and others on it.
struct Session::Dependencies {
  Dependencies(Session* session, const CommandRun& run) {
    const ServerCommand& command = kServerCommands[run.command];
    HandleTable& table = session->table_;
    for (const ObjectId id : run.handles.named()) {
      if (!IsShared(table.TypeOfPeer(id))) named.push_back(id);
    }
    for (const ObjectId id : run.handles.OrderKeys()) {
      const HandleType type = table.TypeOfPeer(id);
      if (IsShared(type)) continue;
      keys.push_back(id);
      if (OrdersLaterCommands(type) || command.submit) holds.push_back(id);
    }
    const std::vector<ObjectId> pinnable = run.handles.Pinnable();
    if (!command.destroys_any()) pins = pinnable;
    for (const ObjectId id : named) {  // queries are read after the submits that use them
      if (table.TypeOfPeer(id) == HandleType::kQueryPool && !command.destroys_any()) carries.push_back(id);
      if (!command.submit || table.TypeOfPeer(id) != HandleType::kCommandBuffer) continue;
      const std::vector<ObjectId> used = session->query_uses_.PoolsOf(id);
      carries.insert(carries.end(), used.begin(), used.end());
    }
    for (const auto& object : run.handles.new_objects()) makes.push_back(object.id);
    if (command.destroys_any() || command.after_users) users = pinnable;
    record = {.named = named,
              .keys = keys,
              .holds = holds,
              .pins = pins,
              .makes = makes,
              .after_users = users,
              .carries = carries};
    record.inherits = command.submit;
    record.joins = !named.empty() && table.TypeOfPeer(named.front()) == HandleType::kCommandBuffer && makes.empty() &&
                   !run.wants_reply && !command.destroys_any() && !command.slow && !command.submit;
    record.slow = command.slow;
    record.told = command.slow && !run.wants_reply;
    record.sequence = run.sequence;
  }

  std::vector<ObjectId> named, keys, holds, pins, makes, users, carries;
  WaitingRecord record;
};

// Called for a command that is slow, that names a pending object or one which a waiting command holds, or that destroys (or has
// to run after the users of) an object in use. The command was decoded so that its ids keep the meaning that they had when it
// was issued: the objects that it names are pinned, and those that it makes become pending. The client may use the slots of
// objects that it destroys again at once; so their entries in the table outlive their ids.
void Session::Defer(const Record& record) {
  CommandRun* run = run_.get();
  const Dependencies dependencies(this, *run);
  run->handles.EnterPending();
  wire::RecordHeader header = record.header;
  header.command = run->command;
  WaitGraph::Added added;
  {
    const std::lock_guard lock(waiting_mutex_);
    added = waiting_.Add(dependencies.record);
    AppendRecord(&added.unit->records, header, record.body);
    queued_bytes_ += CostOf(*added.unit) - std::exchange(added.unit->charged, CostOf(*added.unit));
    const HandleTable::Lock table = table_.Acquire();
    for (const ObjectId id : added.pins) table_.Pin(table, id);
    for (const ObjectId id : added.holds) table_.Hold(table, id);
    for (const ObjectId id : dependencies.named) {
      Object* object = table_.Find(table, id);
      if (object != nullptr && object->type == kServerCommands[run->command].destroys) object->outlives_id = true;
    }
  }
  if (added.ready) Start(added.unit);
}

void Session::Start(const WaitGraph::Unit& unit) {
  if (unit->slow) {
    ++stats_.slow;
    pool_.Post([this, unit] { RunUnits(unit); });
  } else {
    RunUnits(unit);
  }
}

// Runs the unit and then the units that become ready by that, in the order of issue. Slow ones go to the pool.
void Session::RunUnits(WaitGraph::Unit unit) {
  std::shared_ptr<CommandRun> run = std::make_shared<CommandRun>(&table_, limits_.command_bytes);
  std::map<uint64_t, WaitGraph::Unit> ready;
  while (true) {
    RunUnit(*unit, &run);
    for (WaitGraph::Unit& each : EndUnit(unit)) {
      if (each->slow) {
        Start(each);
      } else {
        ready.emplace(each->issued, std::move(each));
      }
    }
    if (ready.empty()) return;
    unit = std::move(ready.extract(ready.begin()).mapped());
  }
}

void Session::RunUnit(const WaitingUnit& unit, std::shared_ptr<CommandRun>* spare) {
  std::span<const uint8_t> records = unit.records;
  wire::RecordHeader header;
  std::span<const uint8_t> body;
  while (wire::NextRecord(&records, &header, &body)) {
    CommandRun* run = spare->get();
    run->command = header.command;
    run->wants_reply = (header.flags & wire::kWantsReply) != 0;
    run->sequence = unit.sequence;
    std::string error;
    CommandHandles::Options options = OptionsOf(run->command);
    options.resumed = true;
    if (!Decode(run, body, options, &error)) {
      Lose(*run, error);  // the reader has decoded it before: memory is exhausted
      if (run->wants_reply) Answer(run->sequence, wire::ReplyKind::kInert, VK_ERROR_OUT_OF_HOST_MEMORY);
    } else if (run->handles.inert()) {
      Skip(run);
    } else {
      Invoke(run);
    }
    if (run->kept) {
      *spare = std::make_shared<CommandRun>(&table_, limits_.command_bytes);
    } else {
      run->arena.Reset();
    }
  }
}

std::vector<WaitGraph::Unit> Session::EndUnit(const WaitGraph::Unit& unit) {
  std::vector<std::pair<ObjectId, VkResult>> made;
  {
    const HandleTable::Lock table = table_.Acquire();
    for (const ObjectId id : unit->makes) {  // nothing stays pending, whatever became of the command
      Object* object = table_.Find(table, id);
      if (object == nullptr) continue;
      if (object->state == ObjectState::kPending) table_.SetFailed(table, object, VK_ERROR_INITIALIZATION_FAILED);
      if (unit->told) made.emplace_back(id, static_cast<VkResult>(object->result));
    }
  }
  for (const auto& [id, result] : made) events_.Made(id, result);
  const std::lock_guard lock(waiting_mutex_);
  {
    const HandleTable::Lock table = table_.Acquire();
    for (const ObjectId id : unit->pins) table_.Unpin(table, id);
    for (const ObjectId id : unit->holds) table_.Release(table, id);
  }
  queued_bytes_ -= unit->charged;
  return waiting_.End(unit);
}

bool Session::NothingWaits() {
  const std::lock_guard lock(waiting_mutex_);
  return waiting_.size() == 0;
}

// Commands wait for jobs of the pool only, and a job runs the commands that waited for it before it ends. So when the pool has
// nothing left to do, no command waits any more.
void Session::DrainJobs() { pool_.Drain(); }

}  // namespace vesper::server
