#include "client/overrides/render_pass.h"

#include <memory>
#include <new>

#include "client/objects/object.h"
#include "client/overrides/recording.h"
#include "client/session/session.h"
#include "generated/client/entry_points.h"
#include "generated/client/overrides.h"
#include "generated/wire/render_pass.h"

namespace vesper::client::overrides {
namespace {

// VkSubpassDescription and VkSubpassDescription2 name these members alike.
template <typename Subpass>
SubpassUse UseOf(const Subpass& subpass) {
  SubpassUse use;
  for (uint32_t i = 0; i < subpass.colorAttachmentCount; ++i) {
    use.color |= subpass.pColorAttachments[i].attachment != VK_ATTACHMENT_UNUSED;
  }
  use.depth_stencil =
      subpass.pDepthStencilAttachment != nullptr && subpass.pDepthStencilAttachment->attachment != VK_ATTACHMENT_UNUSED;
  return use;
}

// Without memory for it nothing is remembered: then every pointer counts as valid.
template <typename CreateInfo>
void Remember(VkDevice device, const CreateInfo& info, VkRenderPass render_pass) noexcept {
  try {
    auto state = std::make_unique<RenderPassState>(IdOf(render_pass));
    for (uint32_t i = 0; i < info.subpassCount; ++i) state->subpasses.push_back(UseOf(info.pSubpasses[i]));
    SessionOf(device).states().Add(state.release());
  } catch (const std::bad_alloc&) {
  }
}

}  // namespace

VKAPI_ATTR VkResult VKAPI_CALL CreateRenderPass(VkDevice device, const VkRenderPassCreateInfo* pCreateInfo,
                                                const VkAllocationCallbacks* pAllocator, VkRenderPass* pRenderPass) {
  const VkResult result = entry::CreateRenderPass(device, pCreateInfo, pAllocator, pRenderPass);
  if (result == VK_SUCCESS) Remember(device, *pCreateInfo, *pRenderPass);
  return result;
}

VKAPI_ATTR VkResult VKAPI_CALL CreateRenderPass2(VkDevice device, const VkRenderPassCreateInfo2* pCreateInfo,
                                                 const VkAllocationCallbacks* pAllocator, VkRenderPass* pRenderPass) {
  const VkResult result = entry::CreateRenderPass2(device, pCreateInfo, pAllocator, pRenderPass);
  if (result == VK_SUCCESS) Remember(device, *pCreateInfo, *pRenderPass);
  return result;
}

VKAPI_ATTR void VKAPI_CALL DestroyRenderPass(VkDevice device, VkRenderPass renderPass,
                                             const VkAllocationCallbacks* pAllocator) {
  if (renderPass != VK_NULL_HANDLE) delete SessionOf(device).states().Remove(IdOf(renderPass));
  wire::DestroyRenderPassArgs args{};
  args.device = device;
  args.renderPass = renderPass;
  if (DestroyLater(device, Command::kDestroyRenderPass, &args, renderPass)) return;
  entry::DestroyRenderPass(device, renderPass, pAllocator);
}

// Drivers read it only while commands are recorded.
VKAPI_ATTR void VKAPI_CALL DestroyFramebuffer(VkDevice device, VkFramebuffer framebuffer,
                                              const VkAllocationCallbacks* pAllocator) {
  wire::DestroyFramebufferArgs args{};
  args.device = device;
  args.framebuffer = framebuffer;
  if (DestroyLater(device, Command::kDestroyFramebuffer, &args, framebuffer)) return;
  entry::DestroyFramebuffer(device, framebuffer, pAllocator);
}

}  // namespace vesper::client::overrides
