// Surfaces and swapchains: see client/wsi/ and docs/windows.md.
#include <algorithm>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "client/base/log.h"
#include "client/objects/object.h"
#include "client/objects/sync.h"
#include "client/overrides/guard.h"
#include "client/session/call.h"
#include "client/session/session.h"
#include "client/windows/wayland.h"
#include "client/windows/x11.h"
#include "client/wsi/device_windows.h"
#include "client/wsi/present.h"
#include "client/wsi/surface.h"
#include "client/wsi/swapchain.h"
#include "generated/client/overrides.h"
#include "runtime/vk/chain.h"

namespace vesper::client {
namespace {

// A handle of the client's own: an id that the server does not know.
template <typename H>
bool MintOwn(Session& session, HandleType type, H* handle) {
  uint64_t id = kNullObject;
  if (session.lost() || !session.ids().Mint(type, {&id, 1})) return false;
  static_assert(sizeof(H) == sizeof(id));
  __builtin_memcpy(handle, &id, sizeof(id));
  return true;
}

// `target` is nullptr for a headless surface.
VkResult MakeSurface(VkInstance instance, std::unique_ptr<SurfaceTarget> target, VkSurfaceKHR* surface) {
  *surface = VK_NULL_HANDLE;
  Session& session = SessionOf(instance);
  VkSurfaceKHR made = VK_NULL_HANDLE;
  if (!MintOwn(session, HandleType::kSurfaceKHR, &made)) {
    if (target != nullptr) target->Close();
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  auto* state = new (std::nothrow) SurfaceState(IdOf(made), std::move(target));
  if (state == nullptr || !session.states().Add(state)) {
    session.ids().Forget(IdOf(made));
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  *surface = made;
  return VK_SUCCESS;
}

// A surface is of the instance that the application has, whichever server's devices look at it.
SurfaceState* SurfaceOf(VkPhysicalDevice device, VkSurfaceKHR surface) {
  return FromHandle<PhysicalDevice>(device)->instance->first->session->states().Get<SurfaceState>(surface);
}
SurfaceState* SurfaceOf(VkDevice device, VkSurfaceKHR surface) {
  return SurfaceOf(ToHandle<VkPhysicalDevice>(FromHandle<Device>(device)->physical_device), surface);
}

SwapchainState* StateOf(const void* dispatchable, VkSwapchainKHR swapchain) {
  return SessionOf(dispatchable).states().Get<SwapchainState>(swapchain);
}

VkResult MakeSwapchain(VkDevice device, const VkSwapchainCreateInfoKHR& info, VkSwapchainKHR* swapchain) {
  Session& session = SessionOf(device);
  SurfaceState* surface = SurfaceOf(device, info.surface);
  if (surface == nullptr) return VK_ERROR_SURFACE_LOST_KHR;
  if (info.oldSwapchain != VK_NULL_HANDLE) {
    SwapchainState* old = StateOf(device, info.oldSwapchain);
    if (old != nullptr) old->presenter->Retire();
  }
  VkSwapchainKHR made = VK_NULL_HANDLE;
  if (!MintOwn(session, HandleType::kSwapchainKHR, &made)) {
    return session.lost() ? VK_ERROR_DEVICE_LOST : VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  VkResult result = VK_ERROR_OUT_OF_HOST_MEMORY;
  auto* state = new (std::nothrow) SwapchainState(IdOf(made), FromHandle<Device>(device), surface->target != nullptr);
  if (state != nullptr && session.states().Add(state)) {
    result = Guarded([&] { return BuildSwapchain(state, surface, info); });
    if (result >= 0) {
      *swapchain = made;
      return result;
    }
    EndSwapchain(state);
    delete session.states().Remove(IdOf(made));
  }
  session.ids().Forget(IdOf(made));
  return result;
}

// The image is free: nothing is left to wait for. A fence is therefore signalled here; a semaphore by whoever waits for it.
VkResult SignalAcquired(Device* device, VkSemaphore semaphore, VkFence fence) {
  if (semaphore != VK_NULL_HANDLE) WindowsOf(device).acquired.Add(semaphore);
  if (fence == VK_NULL_HANDLE) return VK_SUCCESS;
  Connection& connection = device->session->connection();
  {
    const std::lock_guard lane(connection.lane());
    auto* state = device->session->states().Get<FenceState>(fence);
    if (state != nullptr) state->signalled = true;
  }
  connection.NotifyWaiters();
  return VK_SUCCESS;
}

}  // namespace

namespace overrides {

// --- surfaces ------------------------------------------------------------------------------------------------------------

VKAPI_ATTR VkResult VKAPI_CALL CreateXcbSurfaceKHR(VkInstance instance, const VkXcbSurfaceCreateInfoKHR* pCreateInfo,
                                                   const VkAllocationCallbacks*, VkSurfaceKHR* pSurface) {
  std::unique_ptr<SurfaceTarget> window(new (std::nothrow) XWindow(pCreateInfo->connection, pCreateInfo->window));
  if (window == nullptr) return VK_ERROR_OUT_OF_HOST_MEMORY;
  return MakeSurface(instance, std::move(window), pSurface);
}

VKAPI_ATTR VkResult VKAPI_CALL CreateXlibSurfaceKHR(VkInstance instance, const VkXlibSurfaceCreateInfoKHR* pCreateInfo,
                                                    const VkAllocationCallbacks*, VkSurfaceKHR* pSurface) {
  *pSurface = VK_NULL_HANDLE;
  xcb_connection_t* connection = ConnectionOf(pCreateInfo->dpy);
  if (connection == nullptr) return VK_ERROR_OUT_OF_HOST_MEMORY;
  const auto of = static_cast<xcb_window_t>(pCreateInfo->window);
  std::unique_ptr<SurfaceTarget> window(new (std::nothrow) XWindow(connection, of));
  if (window == nullptr) return VK_ERROR_OUT_OF_HOST_MEMORY;
  return MakeSurface(instance, std::move(window), pSurface);
}

VKAPI_ATTR VkResult VKAPI_CALL CreateWaylandSurfaceKHR(VkInstance instance,
                                                       const VkWaylandSurfaceCreateInfoKHR* pCreateInfo,
                                                       const VkAllocationCallbacks*, VkSurfaceKHR* pSurface) {
  *pSurface = VK_NULL_HANDLE;
  std::unique_ptr<SurfaceTarget> window(new (std::nothrow) WaylandWindow(pCreateInfo->display, pCreateInfo->surface));
  if (window == nullptr) return VK_ERROR_OUT_OF_HOST_MEMORY;
  return MakeSurface(instance, std::move(window), pSurface);
}

VKAPI_ATTR VkResult VKAPI_CALL CreateHeadlessSurfaceEXT(VkInstance instance, const VkHeadlessSurfaceCreateInfoEXT*,
                                                        const VkAllocationCallbacks*, VkSurfaceKHR* pSurface) {
  return MakeSurface(instance, nullptr, pSurface);
}

VKAPI_ATTR void VKAPI_CALL DestroySurfaceKHR(VkInstance instance, VkSurfaceKHR surface, const VkAllocationCallbacks*) {
  Session& session = SessionOf(instance);
  if (surface == VK_NULL_HANDLE || session.abandoned()) return;
  const std::unique_ptr<ObjectState> state(session.states().Remove(IdOf(surface)));
  if (state == nullptr) return;
  auto* of = static_cast<SurfaceState*>(state.get());
  std::vector<Presenter*> presenters;
  {
    const MutexLock lock(of->presenters_mutex);
    presenters.swap(of->presenters);
  }
  for (Presenter* each : presenters) each->Part();
  if (of->target != nullptr) of->target->Close();
  session.ids().Forget(IdOf(surface));
}

VKAPI_ATTR VkBool32 VKAPI_CALL GetPhysicalDeviceXcbPresentationSupportKHR(VkPhysicalDevice physicalDevice,
                                                                          uint32_t queueFamilyIndex,
                                                                          xcb_connection_t* connection,
                                                                          xcb_visualid_t visual_id) {
  return FamilyPresents(physicalDevice, queueFamilyIndex) && TakesPixels(connection, visual_id) ? VK_TRUE : VK_FALSE;
}

VKAPI_ATTR VkBool32 VKAPI_CALL GetPhysicalDeviceXlibPresentationSupportKHR(VkPhysicalDevice physicalDevice,
                                                                           uint32_t queueFamilyIndex, Display* dpy,
                                                                           VisualID visualID) {
  xcb_connection_t* connection = ConnectionOf(dpy);
  if (connection == nullptr) return VK_FALSE;
  const auto visual = static_cast<xcb_visualid_t>(visualID);
  return FamilyPresents(physicalDevice, queueFamilyIndex) && TakesPixels(connection, visual) ? VK_TRUE : VK_FALSE;
}

VKAPI_ATTR VkBool32 VKAPI_CALL GetPhysicalDeviceWaylandPresentationSupportKHR(VkPhysicalDevice physicalDevice,
                                                                              uint32_t queueFamilyIndex,
                                                                              wl_display* display) {
  return FamilyPresents(physicalDevice, queueFamilyIndex) && TakesPictures(display) ? VK_TRUE : VK_FALSE;
}

VKAPI_ATTR VkResult VKAPI_CALL GetPhysicalDeviceSurfaceSupportKHR(VkPhysicalDevice physicalDevice,
                                                                  uint32_t queueFamilyIndex, VkSurfaceKHR surface,
                                                                  VkBool32* pSupported) {
  *pSupported = VK_FALSE;
  const SurfaceState* state = SurfaceOf(physicalDevice, surface);
  if (state == nullptr) return VK_ERROR_SURFACE_LOST_KHR;
  return Guarded([&] {
    std::vector<VkSurfaceFormatKHR> formats;
    const VkResult result = SurfaceFormats(physicalDevice, state->target.get(), &formats);
    if (result >= 0 && !formats.empty() && FamilyPresents(physicalDevice, queueFamilyIndex)) *pSupported = VK_TRUE;
    return result;
  });
}

VKAPI_ATTR VkResult VKAPI_CALL GetPhysicalDeviceSurfaceCapabilitiesKHR(VkPhysicalDevice physicalDevice,
                                                                       VkSurfaceKHR surface,
                                                                       VkSurfaceCapabilitiesKHR* pSurfaceCapabilities) {
  const SurfaceState* state = SurfaceOf(physicalDevice, surface);
  if (state == nullptr) return VK_ERROR_SURFACE_LOST_KHR;
  return SurfaceCapabilities(physicalDevice, state->target.get(), pSurfaceCapabilities);
}

VKAPI_ATTR VkResult VKAPI_CALL GetPhysicalDeviceSurfaceCapabilities2KHR(
    VkPhysicalDevice physicalDevice, const VkPhysicalDeviceSurfaceInfo2KHR* pSurfaceInfo,
    VkSurfaceCapabilities2KHR* pSurfaceCapabilities) {
  auto* const protection = FindInChain<VkSurfaceProtectedCapabilitiesKHR>(
      pSurfaceCapabilities->pNext, VK_STRUCTURE_TYPE_SURFACE_PROTECTED_CAPABILITIES_KHR);
  if (protection != nullptr) protection->supportsProtected = VK_FALSE;
  const VkResult result = GetPhysicalDeviceSurfaceCapabilitiesKHR(physicalDevice, pSurfaceInfo->surface,
                                                                  &pSurfaceCapabilities->surfaceCapabilities);
  if (result < 0) return result;
  const VkSurfaceCapabilitiesKHR& known = pSurfaceCapabilities->surfaceCapabilities;
  auto* const scaling = FindInChain<VkSurfacePresentScalingCapabilitiesEXT>(
      pSurfaceCapabilities->pNext, VK_STRUCTURE_TYPE_SURFACE_PRESENT_SCALING_CAPABILITIES_EXT);
  if (scaling != nullptr) {
    *scaling = {scaling->sType, scaling->pNext, 0, 0, 0, known.minImageExtent, known.maxImageExtent};
  }
  auto* const compatible = FindInChain<VkSurfacePresentModeCompatibilityEXT>(
      pSurfaceCapabilities->pNext, VK_STRUCTURE_TYPE_SURFACE_PRESENT_MODE_COMPATIBILITY_EXT);
  if (compatible == nullptr) return result;
  // Each with each: a mode says no more than when images are shown.
  const VkResult listed = GetPhysicalDeviceSurfacePresentModesKHR(
      physicalDevice, pSurfaceInfo->surface, &compatible->presentModeCount, compatible->pPresentModes);
  return listed < 0 ? listed : result;
}

VKAPI_ATTR VkResult VKAPI_CALL GetPhysicalDeviceSurfaceFormatsKHR(VkPhysicalDevice physicalDevice, VkSurfaceKHR surface,
                                                                  uint32_t* pSurfaceFormatCount,
                                                                  VkSurfaceFormatKHR* pSurfaceFormats) {
  const SurfaceState* state = SurfaceOf(physicalDevice, surface);
  if (state == nullptr) return VK_ERROR_SURFACE_LOST_KHR;
  return Guarded([&] {
    std::vector<VkSurfaceFormatKHR> formats;
    const VkResult result = SurfaceFormats(physicalDevice, state->target.get(), &formats);
    return result < 0 ? result : HandOut<VkSurfaceFormatKHR>(formats, pSurfaceFormatCount, pSurfaceFormats);
  });
}

VKAPI_ATTR VkResult VKAPI_CALL GetPhysicalDeviceSurfaceFormats2KHR(VkPhysicalDevice physicalDevice,
                                                                   const VkPhysicalDeviceSurfaceInfo2KHR* pSurfaceInfo,
                                                                   uint32_t* pSurfaceFormatCount,
                                                                   VkSurfaceFormat2KHR* pSurfaceFormats) {
  if (pSurfaceFormats == nullptr) {
    return GetPhysicalDeviceSurfaceFormatsKHR(physicalDevice, pSurfaceInfo->surface, pSurfaceFormatCount, nullptr);
  }
  return Guarded([&] {
    std::vector<VkSurfaceFormatKHR> formats(*pSurfaceFormatCount);
    const VkResult result =
        GetPhysicalDeviceSurfaceFormatsKHR(physicalDevice, pSurfaceInfo->surface, pSurfaceFormatCount, formats.data());
    for (uint32_t i = 0; i < *pSurfaceFormatCount && result >= 0; ++i) pSurfaceFormats[i].surfaceFormat = formats[i];
    return result;
  });
}

VKAPI_ATTR VkResult VKAPI_CALL GetPhysicalDeviceSurfacePresentModesKHR(VkPhysicalDevice physicalDevice,
                                                                       VkSurfaceKHR surface,
                                                                       uint32_t* pPresentModeCount,
                                                                       VkPresentModeKHR* pPresentModes) {
  const SurfaceState* state = SurfaceOf(physicalDevice, surface);
  if (state == nullptr) return VK_ERROR_SURFACE_LOST_KHR;
  return HandOut<VkPresentModeKHR>(SurfaceModes(state->target.get()), pPresentModeCount, pPresentModes);
}

VKAPI_ATTR VkResult VKAPI_CALL GetPhysicalDevicePresentRectanglesKHR(VkPhysicalDevice physicalDevice,
                                                                     VkSurfaceKHR surface, uint32_t* pRectCount,
                                                                     VkRect2D* pRects) {
  VkSurfaceCapabilitiesKHR capabilities{};
  const VkResult result = GetPhysicalDeviceSurfaceCapabilitiesKHR(physicalDevice, surface, &capabilities);
  if (result < 0) return result;
  const bool anything = capabilities.currentExtent.width == UINT32_MAX;
  const VkRect2D whole[] = {{{0, 0}, anything ? capabilities.maxImageExtent : capabilities.currentExtent}};
  return HandOut<VkRect2D>(whole, pRectCount, pRects);
}

// --- device groups: the one device presents what it has -------------------------------------------------------------------

VKAPI_ATTR VkResult VKAPI_CALL
GetDeviceGroupPresentCapabilitiesKHR(VkDevice, VkDeviceGroupPresentCapabilitiesKHR* pDeviceGroupPresentCapabilities) {
  std::fill_n(pDeviceGroupPresentCapabilities->presentMask, VK_MAX_DEVICE_GROUP_SIZE, 0u);
  pDeviceGroupPresentCapabilities->presentMask[0] = 1;
  pDeviceGroupPresentCapabilities->modes = VK_DEVICE_GROUP_PRESENT_MODE_LOCAL_BIT_KHR;
  return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL GetDeviceGroupSurfacePresentModesKHR(VkDevice device, VkSurfaceKHR surface,
                                                                    VkDeviceGroupPresentModeFlagsKHR* pModes) {
  if (SurfaceOf(device, surface) == nullptr) return VK_ERROR_SURFACE_LOST_KHR;
  *pModes = VK_DEVICE_GROUP_PRESENT_MODE_LOCAL_BIT_KHR;
  return VK_SUCCESS;
}

// --- swapchains ----------------------------------------------------------------------------------------------------------

VKAPI_ATTR VkResult VKAPI_CALL CreateSwapchainKHR(VkDevice device, const VkSwapchainCreateInfoKHR* pCreateInfo,
                                                  const VkAllocationCallbacks*, VkSwapchainKHR* pSwapchain) {
  *pSwapchain = VK_NULL_HANDLE;
  return MakeSwapchain(device, *pCreateInfo, pSwapchain);
}

VKAPI_ATTR void VKAPI_CALL DestroySwapchainKHR(VkDevice device, VkSwapchainKHR swapchain,
                                               const VkAllocationCallbacks*) {
  Session& session = SessionOf(device);
  if (swapchain == VK_NULL_HANDLE || session.abandoned()) return;
  const std::unique_ptr<ObjectState> state(session.states().Remove(IdOf(swapchain)));
  if (state == nullptr) return;
  EndSwapchain(static_cast<SwapchainState*>(state.get()));
  session.ids().Forget(IdOf(swapchain));
}

VKAPI_ATTR VkResult VKAPI_CALL GetSwapchainImagesKHR(VkDevice device, VkSwapchainKHR swapchain,
                                                     uint32_t* pSwapchainImageCount, VkImage* pSwapchainImages) {
  const SwapchainState* state = StateOf(device, swapchain);
  if (state == nullptr) return VK_ERROR_OUT_OF_HOST_MEMORY;
  return HandOut<VkImage>(state->images, pSwapchainImageCount, pSwapchainImages);
}

VKAPI_ATTR VkResult VKAPI_CALL AcquireNextImageKHR(VkDevice device, VkSwapchainKHR swapchain, uint64_t timeout,
                                                   VkSemaphore semaphore, VkFence fence, uint32_t* pImageIndex) {
  if (SessionOf(device).abandoned()) return VK_ERROR_DEVICE_LOST;
  SwapchainState* state = StateOf(device, swapchain);
  if (state == nullptr) return VK_ERROR_OUT_OF_DATE_KHR;
  const VkResult result = state->presenter->Acquire(timeout, pImageIndex);
  if (result != VK_SUCCESS && result != VK_SUBOPTIMAL_KHR) return result;
  const VkResult signalled = Guarded([&] { return SignalAcquired(FromHandle<Device>(device), semaphore, fence); });
  return signalled < 0 ? signalled : result;
}

VKAPI_ATTR VkResult VKAPI_CALL AcquireNextImage2KHR(VkDevice device, const VkAcquireNextImageInfoKHR* pAcquireInfo,
                                                    uint32_t* pImageIndex) {
  return AcquireNextImageKHR(device, pAcquireInfo->swapchain, pAcquireInfo->timeout, pAcquireInfo->semaphore,
                             pAcquireInfo->fence, pImageIndex);
}

VKAPI_ATTR VkResult VKAPI_CALL ReleaseSwapchainImagesEXT(VkDevice device,
                                                         const VkReleaseSwapchainImagesInfoEXT* pReleaseInfo) {
  if (SessionOf(device).abandoned()) return VK_ERROR_DEVICE_LOST;
  SwapchainState* state = StateOf(device, pReleaseInfo->swapchain);
  if (state == nullptr) return VK_ERROR_SURFACE_LOST_KHR;
  for (uint32_t i = 0; i < pReleaseInfo->imageIndexCount; ++i) {
    state->presenter->GiveBack(pReleaseInfo->pImageIndices[i]);
  }
  return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL WaitForPresentKHR(VkDevice device, VkSwapchainKHR swapchain, uint64_t presentId,
                                                 uint64_t timeout) {
  if (SessionOf(device).abandoned()) return VK_ERROR_DEVICE_LOST;
  SwapchainState* state = StateOf(device, swapchain);
  return state == nullptr ? VK_ERROR_OUT_OF_DATE_KHR : state->presenter->AwaitShown(presentId, timeout);
}

VKAPI_ATTR VkResult VKAPI_CALL QueuePresentKHR(VkQueue queue, const VkPresentInfoKHR* pPresentInfo) {
  if (SessionOf(queue).abandoned()) return VK_ERROR_DEVICE_LOST;
  return Guarded([&] { return Present(FromHandle<Queue>(queue), *pPresentInfo); });
}

}  // namespace overrides
}  // namespace vesper::client
