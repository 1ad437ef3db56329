// Query results, read without waiting for them: the client asks again. Drivers may wait all the same, for everything that the
// device does (lavapipe): so they are read on a thread of their own, unless nothing is under way.
#include <algorithm>

#include "generated/server/overrides.h"
#include "server/session/session.h"

namespace vesper::server::overrides {
namespace {

void Read(const vk::DispatchTable& driver, wire::GetQueryPoolResultsArgs& v) {
  const VkQueryResultFlags flags = v.flags & ~static_cast<VkQueryResultFlags>(VK_QUERY_RESULT_WAIT_BIT);
  v.result = driver.GetQueryPoolResults(v.device, v.queryPool, v.firstQuery, v.queryCount, v.dataSize, v.pData,
                                        v.stride, flags);
}

// Whether the answer says of anything that it is there.
bool Tells(const wire::GetQueryPoolResultsArgs& v) {
  const auto* bytes = static_cast<const uint8_t*>(v.pData);
  return v.result == VK_SUCCESS ||
         (v.result == VK_NOT_READY && std::any_of(bytes, bytes + v.dataSize, [](uint8_t byte) { return byte != 0; }));
}

}  // namespace

// After the submits before it that use the pool were handed over, or, when the client asks ahead (VK_QUERY_RESULT_WAIT_BIT),
// have completed, and behind no others. What the device wrote ahead of a result is sent before it. What is asked ahead is sent
// before the completion, unless reading may wait for what else the device does.
void GetQueryPoolResults(Session& session, const vk::DispatchTable& driver, wire::GetQueryPoolResultsArgs& v) {
  Device& device = session.device();
  if (session.NothingWaits() && device.IsIdle()) {
    Read(driver, v);
    return;
  }
  const ObjectId pool = session.handles().Named(HandleType::kQueryPool);
  const std::vector<QueryUses::Use> uses = session.query_uses().LastUses(pool);
  const bool ahead = (v.flags & VK_QUERY_RESULT_WAIT_BIT) != 0;
  const auto answer = [&session, &driver, &v, &device, run = session.DeferReply()] {
    Read(driver, v);
    if (device.lost()) v.result = VK_ERROR_DEVICE_LOST;
    if (Tells(v)) device.ScanMemory();
    session.SendReply(*run);
  };
  // Runs when the last copy goes, which each queue holds until that submit is as far.
  const std::shared_ptr<void> last(nullptr, [&device, ahead, answer](void*) {
    if (ahead && !device.is_cpu()) {
      answer();
    } else {
      device.ReadAside(answer);
    }
  });
  for (const QueryUses::Use& use : uses) {
    if (ahead) {
      use.queue->WithCompletion(use.serial, [last] {});
    } else {
      use.queue->WhenHandedOver(use.serial, [last] {});
    }
  }
}

}  // namespace vesper::server::overrides
