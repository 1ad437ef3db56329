#include "server/checks/facts.h"

#include <algorithm>
#include <bit>

#include "server/base/chain.h"
#include "server/session/session.h"

namespace vesper::server {
namespace {

bool IsDynamic(VkDescriptorType type) {
  return type == VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER_DYNAMIC || type == VK_DESCRIPTOR_TYPE_STORAGE_BUFFER_DYNAMIC;
}

std::shared_ptr<const KnownBindings> LayoutOf(const VkDescriptorSetLayoutCreateInfo& info) {
  auto layout = std::make_shared<KnownBindings>();
  for (uint32_t i = 0; i < info.bindingCount; ++i) {
    const VkDescriptorSetLayoutBinding& binding = info.pBindings[i];
    layout->bindings.push_back({binding.binding, binding.descriptorType, binding.descriptorCount});
    if (IsDynamic(binding.descriptorType)) layout->dynamic_offsets += binding.descriptorCount;
  }
  std::sort(layout->bindings.begin(), layout->bindings.end(),
            [](const auto& a, const auto& b) { return a.number < b.number; });
  const auto* flags = FindInChain<VkDescriptorSetLayoutBindingFlagsCreateInfo>(
      info.pNext, VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_BINDING_FLAGS_CREATE_INFO);
  for (uint32_t i = 0; flags != nullptr && flags->pBindingFlags != nullptr && i < flags->bindingCount; ++i) {
    layout->variable |= (flags->pBindingFlags[i] & VK_DESCRIPTOR_BINDING_VARIABLE_DESCRIPTOR_COUNT_BIT) != 0;
  }
  return layout;
}

std::shared_ptr<const KnownBindings> LayoutOf(Session& session, VkDescriptorSetLayout layout) {
  std::shared_ptr<const KnownBindings> found;
  session.handles().WithFacts(HandleType::kDescriptorSetLayout, layout, [&](const ObjectFacts* facts) {
    found = static_cast<const SetLayoutFacts*>(facts)->layout;
  });
  return found;
}

uint32_t ValuesOf(const VkQueryPoolCreateInfo& info) {
  switch (info.queryType) {
    case VK_QUERY_TYPE_PIPELINE_STATISTICS:
      return static_cast<uint32_t>(std::popcount(info.pipelineStatistics));
    case VK_QUERY_TYPE_TRANSFORM_FEEDBACK_STREAM_EXT:
      return 2;
    case VK_QUERY_TYPE_PERFORMANCE_QUERY_KHR: {
      const auto* performance = FindInChain<VkQueryPoolPerformanceCreateInfoKHR>(
          info.pNext, VK_STRUCTURE_TYPE_QUERY_POOL_PERFORMANCE_CREATE_INFO_KHR);
      return performance == nullptr ? 0 : 2 * performance->counterIndexCount;  // of eight bytes, never with 64_BIT
    }
    case VK_QUERY_TYPE_RESULT_STATUS_ONLY_KHR:
      return 0;  // but what WITH_STATUS adds
#if VK_HEADER_VERSION >= 274
    case VK_QUERY_TYPE_VIDEO_ENCODE_FEEDBACK_KHR: {
      const auto* feedback = FindInChain<VkQueryPoolVideoEncodeFeedbackCreateInfoKHR>(
          info.pNext, VK_STRUCTURE_TYPE_QUERY_POOL_VIDEO_ENCODE_FEEDBACK_CREATE_INFO_KHR);
      return feedback == nullptr ? 0 : static_cast<uint32_t>(std::popcount(feedback->encodeFeedbackFlags));
    }
#endif
    default:
      return 1;
  }
}

// VkRenderPassCreateInfo and VkRenderPassCreateInfo2 name these members alike.
template <typename Info>
std::unique_ptr<RenderPassFacts> RenderPassOf(const Info& info) {
  auto facts = std::make_unique<RenderPassFacts>();
  facts->count = info.subpassCount;
  facts->attachments = info.attachmentCount;
  for (uint32_t i = 0; i < info.attachmentCount; ++i) {
    const auto& attachment = info.pAttachments[i];
    if (attachment.loadOp == VK_ATTACHMENT_LOAD_OP_CLEAR || attachment.stencilLoadOp == VK_ATTACHMENT_LOAD_OP_CLEAR) {
      facts->clears = i + 1;
    }
  }
  return facts;
}

}  // namespace

void Learn(Session& session, const vk::DispatchTable&, const wire::AllocateMemoryArgs& v) {
  auto facts = std::make_unique<MemoryFacts>();
  facts->size = v.pAllocateInfo->allocationSize;
  facts->type = v.pAllocateInfo->memoryTypeIndex;
  session.handles().Remember(v.pMemory_ids[0], std::move(facts));
}

void Learn(Session& session, const vk::DispatchTable&, const wire::CreateBufferArgs& v) {
  auto facts = std::make_unique<Facts>();
  facts->size = v.pCreateInfo->size;
  session.handles().Remember(v.pBuffer_ids[0], std::move(facts));
}

void Learn(Session& session, const vk::DispatchTable&, const wire::CreateAccelerationStructureKHRArgs& v) {
  auto facts = std::make_unique<Facts>();
  facts->size = v.pCreateInfo->size;
  session.handles().Remember(v.pAccelerationStructure_ids[0], std::move(facts));
}

void Learn(Session& session, const vk::DispatchTable&, const wire::CreateImageArgs& v) {
  auto facts = std::make_unique<ImageFacts>();
  facts->format = v.pCreateInfo->format;
  facts->extent = v.pCreateInfo->extent;
  facts->levels = v.pCreateInfo->mipLevels;
  facts->layers = v.pCreateInfo->arrayLayers;
  session.handles().Remember(v.pImage_ids[0], std::move(facts));
}

void Learn(Session& session, const vk::DispatchTable&, const wire::CreateImageViewArgs& v) {
  auto facts = std::make_unique<AreaFacts>();
  facts->extent = {UINT32_MAX, UINT32_MAX};
  const uint32_t level = v.pCreateInfo->subresourceRange.baseMipLevel;
  session.handles().WithFacts(HandleType::kImage, v.pCreateInfo->image, [&](const ObjectFacts* known) {
    const VkExtent3D extent = static_cast<const ImageFacts*>(known)->extent;
    if (level < 32) facts->extent = {std::max(extent.width >> level, 1u), std::max(extent.height >> level, 1u)};
  });
  session.handles().Remember(v.pView_ids[0], std::move(facts));
}

void Learn(Session& session, const vk::DispatchTable&, const wire::CreateFramebufferArgs& v) {
  auto facts = std::make_unique<AreaFacts>();
  facts->extent = {v.pCreateInfo->width, v.pCreateInfo->height};
  session.handles().Remember(v.pFramebuffer_ids[0], std::move(facts));
}

void Learn(Session& session, const vk::DispatchTable&, const wire::CreateQueryPoolArgs& v) {
  auto facts = std::make_unique<QueryPoolFacts>();
  facts->count = v.pCreateInfo->queryCount;
  facts->values = ValuesOf(*v.pCreateInfo);
  session.handles().Remember(v.pQueryPool_ids[0], std::move(facts));
}

void Learn(Session& session, const vk::DispatchTable&, const wire::CreateDescriptorSetLayoutArgs& v) {
  auto facts = std::make_unique<SetLayoutFacts>();
  facts->layout = LayoutOf(*v.pCreateInfo);
  session.handles().Remember(v.pSetLayout_ids[0], std::move(facts));
}

void Learn(Session& session, const vk::DispatchTable&, const wire::CreatePipelineLayoutArgs& v) {
  auto facts = std::make_unique<PipelineLayoutFacts>();
  facts->count = v.pCreateInfo->setLayoutCount;
  for (uint32_t i = 0; i < v.pCreateInfo->setLayoutCount; ++i) {
    facts->sets.push_back(LayoutOf(session, v.pCreateInfo->pSetLayouts[i]));
  }
  session.handles().Remember(v.pPipelineLayout_ids[0], std::move(facts));
}

void Learn(Session& session, const vk::DispatchTable&, const wire::AllocateDescriptorSetsArgs& v) {
  const VkDescriptorSetAllocateInfo& info = *v.pAllocateInfo;
  const auto* variable = FindInChain<VkDescriptorSetVariableDescriptorCountAllocateInfo>(
      info.pNext, VK_STRUCTURE_TYPE_DESCRIPTOR_SET_VARIABLE_DESCRIPTOR_COUNT_ALLOCATE_INFO);
  for (uint32_t i = 0; i < info.descriptorSetCount; ++i) {
    auto facts = std::make_unique<DescriptorSetFacts>();
    facts->layout = LayoutOf(session, info.pSetLayouts[i]);
    const bool own = variable != nullptr && variable->pDescriptorCounts != nullptr && i < variable->descriptorSetCount;
    facts->variable_count = own ? variable->pDescriptorCounts[i] : 0;
    session.handles().Remember(v.pDescriptorSets_ids[i], std::move(facts));
  }
}

void Learn(Session& session, const vk::DispatchTable&, const wire::CreateRenderPassArgs& v) {
  session.handles().Remember(v.pRenderPass_ids[0], RenderPassOf(*v.pCreateInfo));
}

void Learn(Session& session, const vk::DispatchTable&, const wire::CreateRenderPass2Args& v) {
  session.handles().Remember(v.pRenderPass_ids[0], RenderPassOf(*v.pCreateInfo));
}

void Learn(Session& session, const vk::DispatchTable&, const wire::AllocateCommandBuffersArgs& v) {
  for (uint32_t i = 0; i < v.pAllocateInfo->commandBufferCount; ++i) {
    session.handles().Remember(v.pCommandBuffers_ids[i], std::make_unique<CommandBufferFacts>());
  }
}

}  // namespace vesper::server
