// Query results are read without waiting: the client asks again.
#include "generated/server/overrides.h"
#include "server/session.h"

namespace vesper::server::overrides {

void GetQueryPoolResults(Session&, const vk::DispatchTable& driver, wire::GetQueryPoolResultsArgs& v) {
  const VkQueryResultFlags flags = v.flags & ~static_cast<VkQueryResultFlags>(VK_QUERY_RESULT_WAIT_BIT);
  v.result = driver.GetQueryPoolResults(v.device, v.queryPool, v.firstQuery, v.queryCount, v.dataSize, v.pData,
                                        v.stride, flags);
}

}  // namespace vesper::server::overrides
