// Query results: waited for in the client, asked for ahead and remembered (client/objects/query_pool.h), and scattered here, so
// that what is not available leaves the application's memory untouched.
#include "generated/wire/query.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

#include "client/base/limits.h"
#include "client/objects/object.h"
#include "client/objects/query_pool.h"
#include "client/objects/sync.h"
#include "client/overrides/guard.h"
#include "client/overrides/queries.h"
#include "client/session/call.h"
#include "client/session/session.h"
#include "generated/client/entry_points.h"
#include "generated/client/overrides.h"
#include "runtime/mutex.h"

namespace vesper::client {
namespace {

uint32_t ValuesOf(const VkQueryPoolCreateInfo& info) {
  switch (static_cast<int>(info.queryType)) {
    case VK_QUERY_TYPE_PIPELINE_STATISTICS:
      return static_cast<uint32_t>(std::popcount(info.pipelineStatistics));
    case VK_QUERY_TYPE_TRANSFORM_FEEDBACK_STREAM_EXT:
      return 2;
    case VK_QUERY_TYPE_OCCLUSION:
    case VK_QUERY_TYPE_TIMESTAMP:
    case VK_QUERY_TYPE_PRIMITIVES_GENERATED_EXT:
    case VK_QUERY_TYPE_MESH_PRIMITIVES_GENERATED_EXT:
    case VK_QUERY_TYPE_ACCELERATION_STRUCTURE_COMPACTED_SIZE_KHR:
    case VK_QUERY_TYPE_ACCELERATION_STRUCTURE_SERIALIZATION_SIZE_KHR:
    case VK_QUERY_TYPE_ACCELERATION_STRUCTURE_SERIALIZATION_BOTTOM_LEVEL_POINTERS_KHR:
    case VK_QUERY_TYPE_ACCELERATION_STRUCTURE_SIZE_KHR:
      return 1;
    default:
      return 0;
  }
}

// Where and how the application wants its results.
struct Wanted {
  uint32_t first = 0;
  uint32_t count = 0;
  size_t size = 0;
  void* data = nullptr;
  VkDeviceSize stride = 0;
  VkQueryResultFlags flags = 0;
};

wire::GetQueryPoolResultsArgs ArgsOf(VkDevice device, VkQueryPool pool, const Wanted& wanted) {
  wire::GetQueryPoolResultsArgs args{};
  args.device = device;
  args.queryPool = pool;
  args.firstQuery = wanted.first;
  args.queryCount = wanted.count;
  args.dataSize = wanted.size;
  args.pData = wanted.data;
  args.stride = wanted.stride;
  args.flags = wanted.flags;
  return args;
}

VkResult AskResults(VkDevice device, VkQueryPool pool, const Wanted& wanted) {
  auto args = ArgsOf(device, pool, wanted);
  Call call(device, Command::kGetQueryPoolResults);
  return call.Ask(&args) ? args.result : call.failure();
}

// Sleeps until something of the device has completed, or a while: a query may also be set by the host.
void AwaitProgress(Device* device) {
  Connection& connection = device->session->connection();
  if (connection.lost()) return;
  std::vector<std::pair<const Queue*, uint64_t>> before;
  {
    const MutexLock lock(device->queues_mutex);
    for (const auto& queue : device->queues) before.emplace_back(queue.get(), 0);
  }
  std::unique_lock lane(connection.lane());
  bool pending = false;
  for (auto& [queue, completed] : before) {
    completed = queue->completed;
    pending = pending || queue->completed < queue->submitted;
  }
  const auto deadline = Clock::now() + (pending ? limits::kQueryPatience : limits::kIdleQueryPatience);
  connection.WaitFor(
      lane,
      [&] {
        return std::any_of(before.begin(), before.end(),
                           [](const auto& each) { return each.first->completed > each.second; });
      },
      deadline);
}

VkResult AskUntilAvailable(Device* device, VkQueryPool pool, Wanted wanted) {
  const bool wait = (wanted.flags & VK_QUERY_RESULT_WAIT_BIT) != 0;
  wanted.flags &= ~static_cast<VkQueryResultFlags>(VK_QUERY_RESULT_WAIT_BIT);
  VkResult result = AskResults(ToHandle<VkDevice>(device), pool, wanted);
  while (wait && result == VK_NOT_READY) {
    if (device->lost.load() || device->session->lost()) return VK_ERROR_DEVICE_LOST;
    AwaitProgress(device);
    result = AskResults(ToHandle<VkDevice>(device), pool, wanted);
  }
  return result;
}

void StoreValue(uint8_t* at, uint64_t value, bool wide) {
  if (wide) {
    std::memcpy(at, &value, sizeof(value));
  } else {
    const auto narrow = static_cast<uint32_t>(value);
    std::memcpy(at, &narrow, sizeof(narrow));
  }
}

// Writes the packed results where the application wants them: values only where they are available or may be partial.
void Scatter(const std::vector<uint64_t>& packed, uint32_t values, const Wanted& wanted) {
  const bool wide = (wanted.flags & VK_QUERY_RESULT_64_BIT) != 0;
  const bool with_availability = (wanted.flags & VK_QUERY_RESULT_WITH_AVAILABILITY_BIT) != 0;
  const bool partial = (wanted.flags & VK_QUERY_RESULT_PARTIAL_BIT) != 0;
  const size_t width = wide ? sizeof(uint64_t) : sizeof(uint32_t);
  for (uint32_t i = 0; i < wanted.count; ++i) {
    const uint64_t* query = packed.data() + size_t{i} * (values + 1);
    auto* at = static_cast<uint8_t*>(wanted.data) + i * wanted.stride;
    const bool available = query[values] != 0;
    for (uint32_t n = 0; n < values && (available || partial); ++n) StoreValue(at + n * width, query[n], wide);
    if (with_availability) StoreValue(at + values * width, available ? 1 : 0, wide);
  }
}

VkQueryPool PoolHandle(const QueryPoolState& state) {
  VkQueryPool handle;
  static_assert(sizeof(handle) == sizeof(state.id));
  std::memcpy(&handle, &state.id, sizeof(handle));
  return handle;
}

size_t PackedSize(const QueryPoolState& state, uint32_t count) { return count * (state.values + size_t{1}); }

// How the client asks for results that it scatters itself.
Wanted Packed(const QueryPoolState& state, const Wanted& wanted, uint64_t* packed) {
  Wanted asked = wanted;
  asked.size = PackedSize(state, wanted.count) * sizeof(uint64_t);
  asked.data = packed;
  asked.stride = (state.values + size_t{1}) * sizeof(uint64_t);
  asked.flags |= VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WITH_AVAILABILITY_BIT;
  return asked;
}

bool IsComplete(const QueryPoolState& state, const std::vector<uint64_t>& packed) {
  for (size_t i = state.values; i < packed.size(); i += state.values + size_t{1}) {
    if (packed[i] == 0) return false;
  }
  return true;
}

// What was answered last about these queries, as the last of all answers. May throw std::bad_alloc.
QueryAnswer& AnswerFor(QueryPoolState* state, const Wanted& wanted) VESPER_REQUIRES(state->mutex) {
  auto& answers = state->answers;
  const auto found = std::find_if(answers.begin(), answers.end(), [&](const QueryAnswer& each) {
    return each.first == wanted.first && each.count == wanted.count;
  });
  if (found != answers.end()) {
    std::rotate(found, found + 1, answers.end());
  } else {
    if (answers.size() >= limits::kQueryAnswers) answers.erase(answers.begin());
    answers.emplace_back();
    answers.back().first = wanted.first;
    answers.back().count = wanted.count;
  }
  return answers.back();
}

// Takes over the answer that was asked for ahead. When all that it tells of has completed it is there, or about to be.
void TakeComing(Device* device, VkQueryPool pool, QueryPoolState* state, const Wanted& wanted, QueryAnswer* answer)
    VESPER_REQUIRES(state->mutex) {
  if (answer->coming == nullptr) return;
  Connection& connection = device->session->connection();
  const std::shared_ptr<LaterReply> coming = answer->coming;
  {
    std::unique_lock lane(connection.lane());
    connection.TryPoll(lane);
    const bool settled = state->IsSettled();
    const auto has_come = [&] { return coming->answered; };
    if (answer->coming_changes == state->changes && settled)
      connection.WaitFor(lane, has_come, Clock::time_point::max());
    if (answer->coming_changes == state->changes && !coming->answered) return;  // too early
  }
  answer->coming = nullptr;
  if (!coming->answered) return;
  std::vector<uint64_t> packed(PackedSize(*state, wanted.count));
  auto args = ArgsOf(ToHandle<VkDevice>(device), pool, Packed(*state, wanted, packed.data()));
  if (!device->session->Finish(Command::kGetQueryPoolResults, *coming, &args) || args.result < 0) return;
  answer->packed = std::move(packed);
  answer->result = args.result;
  answer->changes = answer->coming_changes;
}

// Whether the last answer still holds: nothing has changed since. Or it may: nothing has completed since, and nothing is
// outstanding or it is quite new.
bool Holds(Device* device, const QueryPoolState& state, const QueryAnswer& answer) {
  if (answer.packed.empty()) return false;
  const std::lock_guard lane(device->session->connection().lane());
  return answer.changes == state.changes;
}
bool IsCurrent(Device* device, const QueryAnswer& answer) {
  if (answer.packed.empty() || answer.changes != QueryAnswer::kPassing) return false;
  const MutexLock queues(device->queues_mutex);
  std::unique_lock lane(device->session->connection().lane());
  device->session->connection().TryPoll(lane);
  if (device->session->lost() || answer.as_of != device->session->completions()) return false;
  const bool idle = std::all_of(device->queues.begin(), device->queues.end(),
                                [](const auto& queue) { return queue->completed >= queue->submitted; });
  return idle || Clock::now() - answer.asked_at < limits::kStaleQuery;
}

void AskAnew(Device* device, VkQueryPool pool, QueryPoolState* state, const Wanted& wanted, QueryAnswer* answer)
    VESPER_REQUIRES(state->mutex) {
  answer->packed.assign(PackedSize(*state, wanted.count), 0);
  {
    const std::lock_guard lane(device->session->connection().lane());
    answer->as_of = device->session->completions();
    answer->changes = state->IsSettled() ? state->changes : QueryAnswer::kPassing;
  }
  answer->asked_at = Clock::now();
  answer->result = AskResults(ToHandle<VkDevice>(device), pool, Packed(*state, wanted, answer->packed.data()));
}

// Results of one moment, without waiting for them. `poll`: one that passed a moment ago will do.
VkResult ResultsNow(Device* device, VkQueryPool pool, QueryPoolState* state, const Wanted& wanted, bool poll) {
  const MutexLock lock(state->mutex);
  QueryAnswer& answer = AnswerFor(state, wanted);
  answer.read = true;
  if (!Holds(device, *state, answer)) {
    TakeComing(device, pool, state, wanted, &answer);
    if (!Holds(device, *state, answer) && !(poll && IsCurrent(device, answer))) {
      AskAnew(device, pool, state, wanted, &answer);
    }
  }
  const VkResult result = answer.result;
  if (result >= 0) Scatter(answer.packed, state->values, wanted);
  const bool passing = answer.changes == QueryAnswer::kPassing && IsComplete(*state, answer.packed);
  if (result < 0 || passing) answer.packed.clear();
  return result;
}

// The same until they are available.
VkResult AwaitResults(Device* device, VkQueryPool pool, QueryPoolState* state, Wanted wanted) {
  wanted.flags &= ~static_cast<VkQueryResultFlags>(VK_QUERY_RESULT_WAIT_BIT);
  VkResult result = ResultsNow(device, pool, state, wanted, false);
  while (result == VK_NOT_READY) {
    if (device->lost.load() || device->session->lost()) return VK_ERROR_DEVICE_LOST;
    AwaitProgress(device);
    result = ResultsNow(device, pool, state, wanted, false);
  }
  return result;
}

// A status in place of the availability passes as it comes.
bool AsksOtherwise(VkQueryResultFlags flags) {
#ifdef VK_KHR_video_queue
  return (flags & VK_QUERY_RESULT_WITH_STATUS_BIT_KHR) != 0;
#else
  return flags == VK_QUERY_RESULT_FLAG_BITS_MAX_ENUM;
#endif
}

// Asks for what the program has read of the pool.
void AskAllAhead(Device* device, QueryPoolState* pool, uint64_t changes) VESPER_REQUIRES(pool->mutex) {
  for (QueryAnswer& answer : pool->answers) {
    if (!answer.read || PackedSize(*pool, answer.count) > limits::kQueryValuesAhead) continue;
    Wanted wanted;
    wanted.first = answer.first;
    wanted.count = answer.count;
    wanted.flags = VK_QUERY_RESULT_WAIT_BIT;  // to the server: when what uses the pool has completed
    uint64_t nowhere = 0;
    const auto args = ArgsOf(ToHandle<VkDevice>(device), PoolHandle(*pool), Packed(*pool, wanted, &nowhere));
    answer.coming = device->session->AskLater(Command::kGetQueryPoolResults, &args, When::kWithTheNext);
    answer.coming_changes = changes;
    answer.read = false;
  }
}

}  // namespace

void QueryPoolsUsed::Note(const States& states, const CommandBuffer& commands, const SubmitPoint& point) {
  for (const ObjectId id : commands.query_pools) {
    auto* pool = static_cast<QueryPoolState*>(states.Find(id));
    if (pool == nullptr || pool->values == 0) continue;
    auto use = std::find_if(uses_.begin(), uses_.end(), [pool](const Use& each) { return each.pool == pool; });
    if (use == uses_.end()) use = uses_.insert(uses_.end(), {pool, 0, 0});
    pool->NoteUse(point);
    use->changes = pool->changes;
    ++use->submits;
  }
}

void QueryPoolsUsed::AskAhead(Device* device) noexcept {
  std::mutex& lane = device->session->connection().lane();
  for (const Use& use : uses_) {
    {
      const std::lock_guard locked(lane);
      use.pool->unposted -= use.submits;
      if (use.pool->unposted != 0 || use.pool->changes != use.changes) continue;  // the last one asks
    }
    // Who holds it may wait for an answer that needs what is submitted here to leave.
    if (!use.pool->mutex.try_lock()) continue;
    AskAllAhead(device, use.pool, use.changes);
    use.pool->mutex.unlock();
  }
}

namespace overrides {

VKAPI_ATTR VkResult VKAPI_CALL CreateQueryPool(VkDevice device, const VkQueryPoolCreateInfo* pCreateInfo,
                                               const VkAllocationCallbacks* pAllocator, VkQueryPool* pQueryPool) {
  const VkResult result = entry::CreateQueryPool(device, pCreateInfo, pAllocator, pQueryPool);
  if (result < 0) return result;
  auto* state = new (std::nothrow) QueryPoolState(IdOf(*pQueryPool));
  if (state == nullptr) return result;  // without it results pass as they come
  state->values = ValuesOf(*pCreateInfo);
  SessionOf(device).states().Add(state);
  return result;
}

VKAPI_ATTR void VKAPI_CALL DestroyQueryPool(VkDevice device, VkQueryPool queryPool,
                                            const VkAllocationCallbacks* pAllocator) {
  Session& session = SessionOf(device);
  if (!session.abandoned()) delete session.states().Remove(IdOf(queryPool));
  entry::DestroyQueryPool(device, queryPool, pAllocator);
}

VKAPI_ATTR void VKAPI_CALL ResetQueryPool(VkDevice device, VkQueryPool queryPool, uint32_t firstQuery,
                                          uint32_t queryCount) {
  Session& session = SessionOf(device);
  entry::ResetQueryPool(device, queryPool, firstQuery, queryCount);
  auto* state = session.states().Get<QueryPoolState>(queryPool);
  if (state == nullptr || session.abandoned()) return;
  const std::lock_guard lane(session.connection().lane());
  ++state->changes;
}

VKAPI_ATTR VkResult VKAPI_CALL GetQueryPoolResults(VkDevice device, VkQueryPool queryPool, uint32_t firstQuery,
                                                   uint32_t queryCount, size_t dataSize, void* pData,
                                                   VkDeviceSize stride, VkQueryResultFlags flags) {
  Device* object = FromHandle<Device>(device);
  const Wanted wanted{firstQuery, queryCount, dataSize, pData, stride, flags};
  auto* state = object->session->states().Get<QueryPoolState>(queryPool);
  if (object->lost.load() || object->session->lost()) return VK_ERROR_DEVICE_LOST;
  if (state == nullptr || state->values == 0 || AsksOtherwise(flags)) {
    return Guarded([&] { return AskUntilAvailable(object, queryPool, wanted); });
  }
  return Guarded([&] {
    const bool partial = (flags & VK_QUERY_RESULT_PARTIAL_BIT) != 0;
    if (!partial && (flags & VK_QUERY_RESULT_WAIT_BIT) == 0) {
      return ResultsNow(object, queryPool, state, wanted, true);
    }
    if (!partial) return AwaitResults(object, queryPool, state, wanted);
    std::vector<uint64_t> packed(PackedSize(*state, queryCount));
    const VkResult result = AskUntilAvailable(object, queryPool, Packed(*state, wanted, packed.data()));
    if (result >= 0) Scatter(packed, state->values, wanted);
    return result;
  });
}

}  // namespace overrides
}  // namespace vesper::client
