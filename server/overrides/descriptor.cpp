// Descriptor sets end with the reset of their pool, and what fits by the client's account is always allocated.
#include "generated/server/overrides.h"
#include "server/session/session.h"

namespace vesper::server::overrides {

void CreateDescriptorPool(Session& session, const vk::DispatchTable& driver, wire::CreateDescriptorPoolArgs& v) {
  v.result = driver.CreateDescriptorPool(v.device, v.pCreateInfo, nullptr, v.pDescriptorPool);
  if (v.result == VK_SUCCESS) session.device().descriptor_pools().Note(*v.pDescriptorPool, *v.pCreateInfo);
}

void DestroyDescriptorPool(Session& session, const vk::DispatchTable&, wire::DestroyDescriptorPoolArgs& v) {
  session.device().descriptor_pools().Destroy(v.device, v.descriptorPool);
}

void ResetDescriptorPool(Session& session, const vk::DispatchTable&, wire::ResetDescriptorPoolArgs& v) {
  v.result = session.device().descriptor_pools().Reset(v.device, v.descriptorPool, v.flags);
  CommandHandles& handles = session.handles();
  handles.ForgetChildrenOf(handles.Named(HandleType::kDescriptorPool), HandleType::kDescriptorSet);
}

// A client that asks leaves it to the driver.
void AllocateDescriptorSets(Session& session, const vk::DispatchTable&, wire::AllocateDescriptorSetsArgs& v) {
  const bool fits = !session.run().wants_reply;
  v.result = session.device().descriptor_pools().Allocate(v.device, *v.pAllocateInfo, fits, v.pDescriptorSets);
}

void FreeDescriptorSets(Session& session, const vk::DispatchTable&, wire::FreeDescriptorSetsArgs& v) {
  v.result =
      session.device().descriptor_pools().Free(v.device, v.descriptorPool, v.descriptorSetCount, v.pDescriptorSets);
}

}  // namespace vesper::server::overrides
