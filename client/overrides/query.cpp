// Query results: waited for in the client, and scattered here, so that what is not available leaves the application's memory
// untouched.
#include <bit>
#include <chrono>
#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

#include "client/call.h"
#include "client/object.h"
#include "client/overrides/guard.h"
#include "client/session.h"
#include "client/sync.h"
#include "generated/client/entry_points.h"
#include "generated/client/overrides.h"
#include "generated/wire/query.h"

namespace vesper::client {
namespace {

// Values that one query of the pool writes, or 0 where the client does not know: then results pass as they come.
struct QueryPoolState : ObjectState {
  using ObjectState::ObjectState;
  uint32_t values = 0;
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
    const std::lock_guard lock(device->queues_mutex);
    for (const auto& queue : device->queues) before.emplace_back(queue.get(), 0);
  }
  std::unique_lock lane(connection.lane());
  bool pending = false;
  for (auto& [queue, completed] : before) {
    completed = queue->completed;
    pending = pending || queue->completed < queue->submitted;
  }
  const auto deadline = Clock::now() + std::chrono::milliseconds(pending ? 50 : 5);
  connection.WaitFor(
      lane,
      [&] {
        return std::any_of(before.begin(), before.end(), [](const auto& each) { return each.first->completed > each.second; });
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

VKAPI_ATTR VkResult VKAPI_CALL GetQueryPoolResults(VkDevice device, VkQueryPool queryPool, uint32_t firstQuery,
                                                   uint32_t queryCount, size_t dataSize, void* pData,
                                                   VkDeviceSize stride, VkQueryResultFlags flags) {
  Device* object = FromHandle<Device>(device);
  const Wanted wanted{firstQuery, queryCount, dataSize, pData, stride, flags};
  const auto* state = object->session->states().Get<QueryPoolState>(queryPool);
  if (state == nullptr || state->values == 0) {
    return Guarded([&] { return AskUntilAvailable(object, queryPool, wanted); });
  }
  return Guarded([&] {
    const size_t packed_stride = (state->values + size_t{1}) * sizeof(uint64_t);
    std::vector<uint64_t> packed(queryCount * (state->values + size_t{1}));
    Wanted asked = wanted;
    asked.size = queryCount * packed_stride;
    asked.data = packed.data();
    asked.stride = packed_stride;
    asked.flags |= VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WITH_AVAILABILITY_BIT;
    const VkResult result = AskUntilAvailable(object, queryPool, asked);
    if (result >= 0) Scatter(packed, state->values, wanted);
    return result;
  });
}

}  // namespace overrides
}  // namespace vesper::client
