// Query results: waited for in the client, and scattered here, so that what is not available leaves the application's memory
// untouched.
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
#include "client/objects/sync.h"
#include "client/overrides/guard.h"
#include "client/session/call.h"
#include "client/session/session.h"
#include "generated/client/entry_points.h"
#include "generated/client/overrides.h"
#include "runtime/mutex.h"

namespace vesper::client {
namespace {

// Values that one query of the pool writes, or 0 where the client does not know: then results pass as they come.
struct QueryPoolState : ObjectState {
  using ObjectState::ObjectState;
  uint32_t values = 0;

  // The last answer that was not complete, in the packed form, so that polling for it is no round trip.
  Mutex mutex;  // taken before the lane
  uint32_t first VESPER_GUARDED_BY(mutex) = 0;
  uint32_t count VESPER_GUARDED_BY(mutex) = 0;
  std::vector<uint64_t> packed VESPER_GUARDED_BY(mutex);  // empty: none
  VkResult result VESPER_GUARDED_BY(mutex) = VK_SUCCESS;
  uint64_t as_of VESPER_GUARDED_BY(mutex) = 0;  // Session::completions() before it was asked for
  Clock::time_point asked_at VESPER_GUARDED_BY(mutex){};
};

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

VkResult AskResults(VkDevice device, VkQueryPool pool, const Wanted& wanted) {
  wire::GetQueryPoolResultsArgs args{};
  args.device = device;
  args.queryPool = pool;
  args.firstQuery = wanted.first;
  args.queryCount = wanted.count;
  args.dataSize = wanted.size;
  args.pData = wanted.data;
  args.stride = wanted.stride;
  args.flags = wanted.flags;
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

// Whether the last answer still holds: nothing has completed since, and nothing is outstanding or it is quite new.
bool IsCurrent(Device* device, const QueryPoolState& state, const Wanted& wanted) VESPER_REQUIRES(state.mutex) {
  if (state.packed.empty() || state.first != wanted.first || state.count != wanted.count) return false;
  const MutexLock queues(device->queues_mutex);
  std::unique_lock lane(device->session->connection().lane());
  device->session->connection().TryPoll(lane);
  if (device->session->lost() || state.as_of != device->session->completions()) return false;
  const bool idle = std::all_of(device->queues.begin(), device->queues.end(),
                                [](const auto& queue) { return queue->completed >= queue->submitted; });
  return idle || Clock::now() - state.asked_at < limits::kStaleQuery;
}

// Results of one moment, without waiting for them.
VkResult PollResults(Device* device, VkQueryPool pool, QueryPoolState* state, const Wanted& wanted) {
  const MutexLock lock(state->mutex);
  if (!IsCurrent(device, *state, wanted)) {
    {
      const std::lock_guard lane(device->session->connection().lane());
      state->as_of = device->session->completions();
    }
    state->asked_at = Clock::now();
    state->packed.assign(PackedSize(*state, wanted.count), 0);
    state->first = wanted.first;
    state->count = wanted.count;
    state->result = AskResults(ToHandle<VkDevice>(device), pool, Packed(*state, wanted, state->packed.data()));
  }
  const VkResult result = state->result;
  if (result >= 0) Scatter(state->packed, state->values, wanted);
  if (result < 0 || IsComplete(*state, state->packed)) state->packed.clear();
  return result;
}

}  // namespace

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
  const MutexLock lock(state->mutex);
  state->packed.clear();
}

VKAPI_ATTR VkResult VKAPI_CALL GetQueryPoolResults(VkDevice device, VkQueryPool queryPool, uint32_t firstQuery,
                                                   uint32_t queryCount, size_t dataSize, void* pData,
                                                   VkDeviceSize stride, VkQueryResultFlags flags) {
  Device* object = FromHandle<Device>(device);
  const Wanted wanted{firstQuery, queryCount, dataSize, pData, stride, flags};
  auto* state = object->session->states().Get<QueryPoolState>(queryPool);
  if (state == nullptr || state->values == 0) {
    return Guarded([&] { return AskUntilAvailable(object, queryPool, wanted); });
  }
  if (object->session->lost()) return VK_ERROR_DEVICE_LOST;
  constexpr VkQueryResultFlags kOwnWay = VK_QUERY_RESULT_WAIT_BIT | VK_QUERY_RESULT_PARTIAL_BIT;
  if ((flags & kOwnWay) == 0) return Guarded([&] { return PollResults(object, queryPool, state, wanted); });
  return Guarded([&] {
    std::vector<uint64_t> packed(PackedSize(*state, queryCount));
    const VkResult result = AskUntilAvailable(object, queryPool, Packed(*state, wanted, packed.data()));
    if (result >= 0) Scatter(packed, state->values, wanted);
    return result;
  });
}

}  // namespace overrides
}  // namespace vesper::client
