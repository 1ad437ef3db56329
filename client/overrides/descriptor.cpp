// Descriptor pools with their account, sets that need not be waited for, update templates turned into plain writes.
#include "generated/wire/descriptor.h"

#include <memory>
#include <vector>

#include "client/objects/descriptor_account.h"
#include "client/objects/object.h"
#include "client/objects/update_template.h"
#include "client/overrides/guard.h"
#include "client/overrides/recording.h"
#include "client/session/call.h"
#include "client/session/session.h"
#include "generated/client/entry_points.h"
#include "generated/client/overrides.h"

namespace vesper::client {
namespace {

// Makes the state of an object that exists; when memory is exhausted the object is destroyed again.
template <typename State, typename Info>
bool AddState(Session& session, ObjectId id, const Info& info) {
  return Guarded([&] {
           return session.states().Add(new State(id, info)) ? VK_SUCCESS : VK_ERROR_OUT_OF_HOST_MEMORY;
         }) == VK_SUCCESS;
}

// Gives the object that `result` says was made its state, or unmakes it and leaves null in `handle`.
template <typename State, typename Info, typename Handle, typename Destroy>
VkResult WithState(VkResult result, VkDevice device, const Info& info, Handle* handle, Destroy destroy) {
  if (result < 0 || AddState<State>(SessionOf(device), IdOf(*handle), info)) return result;
  destroy(device, *handle, nullptr);
  *handle = VK_NULL_HANDLE;
  return VK_ERROR_OUT_OF_HOST_MEMORY;
}

void ForgetSets(Session& session, DescriptorPoolState* pool) {
  pool->Clear([&session](ObjectId set) { session.ids().Forget(set); });
}

VkResult Allocate(Session& session, DescriptorPoolState* pool, VkDevice device, const VkDescriptorSetAllocateInfo& info,
                  VkDescriptorSet* sets) {
  wire::AllocateDescriptorSetsArgs args{};
  args.device = device;
  args.pAllocateInfo = &info;
  args.pDescriptorSets = sets;
  const std::vector<SharedCost> costs = CostsOf(session.states(), info);
  std::vector<uint64_t> ids(info.descriptorSetCount);
  const bool certain = pool->Holds(costs);
  Call call(session, Command::kAllocateDescriptorSets);
  call.Mint(HandleType::kDescriptorSet, sets, info.descriptorSetCount);
  for (uint32_t i = 0; i < info.descriptorSetCount; ++i) ids[i] = IdOf(sets[i]);
  if (!pool->Enter(costs, ids)) {
    for (const uint64_t id : ids) call.Forget(HandleType::kDescriptorSet, id);
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  VkResult result = VK_SUCCESS;
  if (certain) {
    result = call.Post(&args);
  } else {
    result = call.Ask(&args) ? call.Settle(args.result) : call.failure();
  }
  for (size_t i = 0; result != VK_SUCCESS && i < ids.size(); ++i) pool->Leave(ids[i]);
  return result;
}

#ifdef VK_KHR_maintenance6
// Stages whose descriptors a push for this bind point sets; one of them would do, since the rest of the bind point follows.
VkShaderStageFlags StagesOf(VkPipelineBindPoint bind_point) {
  switch (bind_point) {
    case VK_PIPELINE_BIND_POINT_GRAPHICS:
      return VK_SHADER_STAGE_ALL_GRAPHICS;
    case VK_PIPELINE_BIND_POINT_COMPUTE:
      return VK_SHADER_STAGE_COMPUTE_BIT;
    default:
      return VK_SHADER_STAGE_RAYGEN_BIT_KHR | VK_SHADER_STAGE_ANY_HIT_BIT_KHR | VK_SHADER_STAGE_CLOSEST_HIT_BIT_KHR |
             VK_SHADER_STAGE_MISS_BIT_KHR | VK_SHADER_STAGE_INTERSECTION_BIT_KHR | VK_SHADER_STAGE_CALLABLE_BIT_KHR;
  }
}
#endif

}  // namespace

namespace overrides {

VKAPI_ATTR VkResult VKAPI_CALL CreateDescriptorSetLayout(VkDevice device,
                                                         const VkDescriptorSetLayoutCreateInfo* pCreateInfo,
                                                         const VkAllocationCallbacks* pAllocator,
                                                         VkDescriptorSetLayout* pSetLayout) {
  const VkResult result = entry::CreateDescriptorSetLayout(device, pCreateInfo, pAllocator, pSetLayout);
  return WithState<DescriptorSetLayoutState>(result, device, *pCreateInfo, pSetLayout,
                                             entry::DestroyDescriptorSetLayout);
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
  return WithState<DescriptorPoolState>(result, device, *pCreateInfo, pDescriptorPool, entry::DestroyDescriptorPool);
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
  for (uint32_t i = 0; pool != nullptr && i < descriptorSetCount; ++i) pool->Leave(IdOf(pDescriptorSets[i]));
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

#ifdef VK_KHR_maintenance6
VKAPI_ATTR void VKAPI_CALL CmdPushDescriptorSetWithTemplate2KHR(
    VkCommandBuffer commandBuffer, const VkPushDescriptorSetWithTemplateInfoKHR* pPushDescriptorSetWithTemplateInfo) {
  const VkPushDescriptorSetWithTemplateInfoKHR& info = *pPushDescriptorSetWithTemplateInfo;
  const auto* state = SessionOf(commandBuffer).states().Get<UpdateTemplateState>(info.descriptorUpdateTemplate);
  if (state == nullptr) return;
  Guarded([&] {
    const TemplateWrites expanded(*state, VK_NULL_HANDLE, info.pData);
    const auto writes = expanded.writes();
    VkPushDescriptorSetInfoKHR push{};
    push.sType = VK_STRUCTURE_TYPE_PUSH_DESCRIPTOR_SET_INFO_KHR;
    push.pNext = info.pNext;
    push.stageFlags = StagesOf(state->bind_point);
    push.layout = info.layout;
    push.set = info.set;
    push.descriptorWriteCount = static_cast<uint32_t>(writes.size());
    push.pDescriptorWrites = writes.data();
    entry::CmdPushDescriptorSet2KHR(commandBuffer, &push);
    return VK_SUCCESS;
  });
}
#endif

// Drivers read it only while commands are recorded.
VKAPI_ATTR void VKAPI_CALL DestroyPipelineLayout(VkDevice device, VkPipelineLayout pipelineLayout,
                                                 const VkAllocationCallbacks* pAllocator) {
  wire::DestroyPipelineLayoutArgs args{};
  args.device = device;
  args.pipelineLayout = pipelineLayout;
  if (DestroyLater(device, Command::kDestroyPipelineLayout, &args, pipelineLayout)) return;
  entry::DestroyPipelineLayout(device, pipelineLayout, pAllocator);
}

}  // namespace overrides
}  // namespace vesper::client
