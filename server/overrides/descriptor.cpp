// Descriptor sets end with the reset of their pool.
#include "generated/server/overrides.h"
#include "server/session/session.h"

namespace vesper::server::overrides {

void ResetDescriptorPool(Session& session, const vk::DispatchTable& driver, wire::ResetDescriptorPoolArgs& v) {
  v.result = driver.ResetDescriptorPool(v.device, v.descriptorPool, v.flags);
  CommandHandles& handles = session.handles();
  handles.ForgetChildrenOf(handles.Named(HandleType::kDescriptorPool), HandleType::kDescriptorSet);
}

}  // namespace vesper::server::overrides
