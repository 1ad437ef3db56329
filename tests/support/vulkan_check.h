// Results and ownership for programs that use plain Vulkan. Nothing here knows of Vesper: what the
// integration tests prove must hold for any driver.
#pragma once

#include <vulkan/vulkan.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace vesper::test {

std::string ResultName(VkResult result);

class VulkanError : public std::runtime_error {
 public:
  VulkanError(VkResult result, const char* what)
      : std::runtime_error(std::string(what) + " = " + ResultName(result)), result_(result) {}
  VkResult result() const { return result_; }

 private:
  VkResult result_;
};

// Throws unless `result` is VK_SUCCESS.
inline void Check(VkResult result, const char* what) {
  if (result != VK_SUCCESS) throw VulkanError(result, what);
}
#define VK_CHECK(expression) ::vesper::test::Check((expression), #expression)

// A handle that destroys itself. Child of a VkDevice or of a VkInstance.
template <typename Handle, typename Parent = VkDevice>
class Owned {
 public:
  using Destroy = void(VKAPI_PTR*)(Parent, Handle, const VkAllocationCallbacks*);

  Owned() = default;
  Owned(Parent parent, Handle handle, Destroy destroy) : parent_(parent), handle_(handle), destroy_(destroy) {}
  Owned(Owned&& other) noexcept { *this = std::move(other); }
  Owned& operator=(Owned&& other) noexcept {
    std::swap(parent_, other.parent_);
    std::swap(handle_, other.handle_);
    std::swap(destroy_, other.destroy_);
    return *this;
  }
  ~Owned() { Reset(); }

  void Reset() {
    if (handle_ != VK_NULL_HANDLE) destroy_(parent_, handle_, nullptr);
    handle_ = VK_NULL_HANDLE;
  }
  Handle get() const { return handle_; }
  const Handle* address() const { return &handle_; }
  operator Handle() const { return handle_; }  // NOLINT: passes wherever Vulkan wants the handle

 private:
  Parent parent_ = VK_NULL_HANDLE;
  Handle handle_ = VK_NULL_HANDLE;
  Destroy destroy_ = nullptr;
};

// Owned<VkFence> fence = Create(device, vkCreateFence, vkDestroyFence, info);
template <typename Handle, typename Info>
Owned<Handle> Create(VkDevice device,
                     VkResult(VKAPI_PTR* create)(VkDevice, const Info*, const VkAllocationCallbacks*, Handle*),
                     void(VKAPI_PTR* destroy)(VkDevice, Handle, const VkAllocationCallbacks*), const Info& info) {
  Handle handle = VK_NULL_HANDLE;
  Check(create(device, &info, nullptr, &handle), "vkCreate");
  return Owned<Handle>(device, handle, destroy);
}

}  // namespace vesper::test
