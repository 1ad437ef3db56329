// Descriptor pools with their account, sets that need not be waited for, update templates turned into plain writes.
#include "generated/wire/descriptor.h"

#include <memory>
#include <vector>

#include "client/call.h"
#include "client/descriptor_account.h"
#include "client/object.h"
#include "client/overrides/guard.h"
#include "client/session.h"
#include "client/update_template.h"
#include "generated/client/entry_points.h"
#include "generated/client/overrides.h"

namespace vesper::client {
namespace {

// Makes the state of an object that exists; when memory is exhausted the object is destroyed again.
template <typename State, typename Info>
bool AddState(Session& session, ObjectId id, const Info& info) noexcept {
  return Guarded([&] {
           return session.states().Add(new State(id, info)) ? VK_SUCCESS : VK_ERROR_OUT_OF_HOST_MEMORY;
         }) == VK_SUCCESS;
}

void ForgetSets(Session& session, DescriptorPoolState* pool) {
  for (const ObjectId set : pool->Clear()) session.ids().Forget(set);
}

VkResult Allocate(Session& session, DescriptorPoolState* pool, VkDevice device, const VkDescriptorSetAllocateInfo& info,
                  VkDescriptorSet* sets) {
  wire::AllocateDescriptorSetsArgs args{};
  args.device = device;
  args.pAllocateInfo = &info;
  args.pDescriptorSets = sets;
  const bool certain = pool->CertainlyHolds(session.states(), info);
  Call call(session, Command::kAllocateDescriptorSets);
  call.Mint(HandleType::kDescriptorSet, sets, info.descriptorSetCount);
  const std::vector<uint64_t> ids(reinterpret_cast<uint64_t*>(sets),
                                  reinterpret_cast<uint64_t*>(sets) + info.descriptorSetCount);
  VkResult result = VK_SUCCESS;
  if (certain) {
    result = call.Post(&args);
  } else {
    result = call.Ask(&args) ? call.Settle(args.result) : call.failure();
  }
  if (result == VK_SUCCESS) pool->Enter(session.states(), info, ids);
  return result;
}

}  // namespace

namespace overrides {

VKAPI_ATTR VkResult VKAPI_CALL CreateDescriptorSetLayout(VkDevice device,
                                                         const VkDescriptorSetLayoutCreateInfo* pCreateInfo,
                                                         const VkAllocationCallbacks* pAllocator,
                                                         VkDescriptorSetLayout* pSetLayout) {
  const VkResult result = entry::CreateDescriptorSetLayout(device, pCreateInfo, pAllocator, pSetLayout);
  if (result < 0) return result;
  if (AddState<DescriptorSetLayoutState>(SessionOf(device), IdOf(*pSetLayout), *pCreateInfo)) return result;
  entry::DestroyDescriptorSetLayout(device, *pSetLayout, pAllocator);
  *pSetLayout = VK_NULL_HANDLE;
  return VK_ERROR_OUT_OF_HOST_MEMORY;
}

VKAPI_ATTR void VKAPI_CALL DestroyDescriptorSetLayout(VkDevice device, VkDescriptorSetLayout descriptorSetLayout,
                                                      const VkAllocationCallbacks* pAllocator) {
  Session& session = SessionOf(device);
  if (!session.abandoned()) delete session.states().Remove(IdOf(descriptorSetLayout));
  entry::DestroyDescriptorSetLayout(device, descriptorSetLayout, pAllocator);
}

VKAPI_ATTR VkResult VKAPI_CALL CreateDescriptorPool(VkDevice device, const VkDescriptorPoolCreateInfo* pCreateInfo,
                                                    const VkAllocationCallbacks* pAllocator,
                                                    VkDescriptorPool* pDescriptorPool) {
  const VkResult result = entry::CreateDescriptorPool(device, pCreateInfo, pAllocator, pDescriptorPool);
  if (result < 0) return result;
  if (AddState<DescriptorPoolState>(SessionOf(device), IdOf(*pDescriptorPool), *pCreateInfo)) return result;
  entry::DestroyDescriptorPool(device, *pDescriptorPool, pAllocator);
  *pDescriptorPool = VK_NULL_HANDLE;
  return VK_ERROR_OUT_OF_HOST_MEMORY;
}

VKAPI_ATTR void VKAPI_CALL DestroyDescriptorPool(VkDevice device, VkDescriptorPool descriptorPool,
                                                 const VkAllocationCallbacks* pAllocator) {
  if (descriptorPool == VK_NULL_HANDLE) return;
  Session& session = SessionOf(device);
  entry::DestroyDescriptorPool(device, descriptorPool, pAllocator);
  if (session.abandoned()) return;
  const std::unique_ptr<ObjectState> state(session.states().Remove(IdOf(descriptorPool)));
  if (state != nullptr) ForgetSets(session, static_cast<DescriptorPoolState*>(state.get()));
}

VKAPI_ATTR VkResult VKAPI_CALL ResetDescriptorPool(VkDevice device, VkDescriptorPool descriptorPool,
                                                   VkDescriptorPoolResetFlags flags) {
  Session& session = SessionOf(device);
  const VkResult result = entry::ResetDescriptorPool(device, descriptorPool, flags);
  auto* pool = session.states().Get<DescriptorPoolState>(descriptorPool);
  if (pool != nullptr && !session.abandoned()) ForgetSets(session, pool);
  return result;
}

VKAPI_ATTR VkResult VKAPI_CALL AllocateDescriptorSets(VkDevice device, const VkDescriptorSetAllocateInfo* pAllocateInfo,
                                                      VkDescriptorSet* pDescriptorSets) {
  Session& session = SessionOf(device);
  auto* pool = session.states().Get<DescriptorPoolState>(pAllocateInfo->descriptorPool);
  const VkResult result =
      pool == nullptr ? VK_ERROR_OUT_OF_DEVICE_MEMORY
                      : Guarded([&] { return Allocate(session, pool, device, *pAllocateInfo, pDescriptorSets); });
  if (result < 0) std::fill_n(pDescriptorSets, pAllocateInfo->descriptorSetCount, VkDescriptorSet{});
  return result;
}

VKAPI_ATTR VkResult VKAPI_CALL FreeDescriptorSets(VkDevice device, VkDescriptorPool descriptorPool,
                                                  uint32_t descriptorSetCount, const VkDescriptorSet* pDescriptorSets) {
  auto* pool = SessionOf(device).states().Get<DescriptorPoolState>(descriptorPool);
  for (uint32_t i = 0; pool != nullptr && i < descriptorSetCount; ++i) pool->sets.erase(IdOf(pDescriptorSets[i]));
  return entry::FreeDescriptorSets(device, descriptorPool, descriptorSetCount, pDescriptorSets);
}

VKAPI_ATTR VkResult VKAPI_CALL CreateDescriptorUpdateTemplate(VkDevice device,
                                                              const VkDescriptorUpdateTemplateCreateInfo* pCreateInfo,
                                                              const VkAllocationCallbacks*,
                                                              VkDescriptorUpdateTemplate* pDescriptorUpdateTemplate) {
  *pDescriptorUpdateTemplate = VK_NULL_HANDLE;
  Session& session = SessionOf(device);
  uint64_t id = kNullObject;
  if (session.abandoned() || !session.ids().Mint(HandleType::kDescriptorUpdateTemplate, {&id, 1})) {
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  if (!AddState<UpdateTemplateState>(session, id, *pCreateInfo)) {
    session.ids().Forget(id);
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  __builtin_memcpy(pDescriptorUpdateTemplate, &id, sizeof(id));
  return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL DestroyDescriptorUpdateTemplate(VkDevice device,
                                                           VkDescriptorUpdateTemplate descriptorUpdateTemplate,
                                                           const VkAllocationCallbacks*) {
  Session& session = SessionOf(device);
  if (session.abandoned()) return;
  delete session.states().Remove(IdOf(descriptorUpdateTemplate));
  session.ids().Forget(IdOf(descriptorUpdateTemplate));
}

VKAPI_ATTR void VKAPI_CALL UpdateDescriptorSetWithTemplate(VkDevice device, VkDescriptorSet descriptorSet,
                                                           VkDescriptorUpdateTemplate descriptorUpdateTemplate,
                                                           const void* pData) {
  const auto* state = SessionOf(device).states().Get<UpdateTemplateState>(descriptorUpdateTemplate);
  if (state == nullptr) return;
  Guarded([&] {
    const TemplateWrites expanded(*state, descriptorSet, pData);
    const auto writes = expanded.writes();
    entry::UpdateDescriptorSets(device, static_cast<uint32_t>(writes.size()), writes.data(), 0, nullptr);
    return VK_SUCCESS;
  });
}

VKAPI_ATTR void VKAPI_CALL CmdPushDescriptorSetWithTemplateKHR(VkCommandBuffer commandBuffer,
                                                               VkDescriptorUpdateTemplate descriptorUpdateTemplate,
                                                               VkPipelineLayout layout, uint32_t set,
                                                               const void* pData) {
  const auto* state = SessionOf(commandBuffer).states().Get<UpdateTemplateState>(descriptorUpdateTemplate);
  if (state == nullptr) return;
  Guarded([&] {
    const TemplateWrites expanded(*state, VK_NULL_HANDLE, pData);
    const auto writes = expanded.writes();
    entry::CmdPushDescriptorSetKHR(commandBuffer, state->bind_point, layout, set, static_cast<uint32_t>(writes.size()),
                                   writes.data());
    return VK_SUCCESS;
  });
}

}  // namespace overrides
}  // namespace vesper::client
