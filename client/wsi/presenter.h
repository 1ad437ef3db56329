// What happens to presented images after vkQueuePresentKHR has returned: a thread for each swapchain waits for the copy that was
// submitted behind the image's drawing, shows it, and gives the image back for the next vkAcquireNextImageKHR. Nothing here
// sends: completions are pushed by the server.
//
//   free → acquired (Acquire) → queued (Present) → ready, once its submit has completed → shown → free
//
// FIFO shows images in order, one whenever the window system wants a picture, or each 1/60 s where it does not say. MAILBOX keeps
// the newest that is ready for that time and frees the one that it replaces. IMMEDIATE, and all of them where nothing is shown
// (headless), show as soon as an image is ready, in order.
#pragma once

#include <vulkan/vulkan.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "client/objects/sync.h"
#include "client/windows/target.h"
#include "client/wsi/surface.h"
#include "runtime/mutex.h"

namespace vesper::client {

// Owned by its swapchain. The application's threads call it, and it has a thread of its own; mutex_ guards what they share, and
// is never held while the lane or the window system is waited for.
class Presenter final : private Painter::Watcher {
 public:
  // Where an image's pixels are copied to, one for each image.
  struct Picture {
    const uint8_t* pixels = nullptr;  // nullptr: nothing is shown
  };

  // `painter` is nullptr where nothing is shown. Throws when there is no memory or thread left.
  Presenter(Device* device, SurfaceState* surface, VkPresentModeKHR mode, std::vector<Picture> pictures,
            std::unique_ptr<Painter> painter);
  // Shows what is queued, without pacing, where the window is sure to be there, and ends the thread. In the child of a fork: nothing.
  ~Presenter();
  Presenter(const Presenter&) = delete;
  Presenter& operator=(const Presenter&) = delete;

  // Waits for a free image. VK_SUCCESS or VK_SUBOPTIMAL_KHR with an index, VK_NOT_READY, VK_TIMEOUT, or an error.
  VkResult Acquire(uint64_t timeout, uint32_t* index) noexcept;
  // Whether the application has acquired the image and not presented it yet.
  bool IsAcquired(uint32_t index) noexcept;
  // The picture that the next image presented is to be copied to: of the free ones, that which was shown last, as it differs least
  // from what comes. Presenting gives it back, or whoever took it.
  uint32_t TakePicture() noexcept;
  void ReturnPicture(uint32_t picture) noexcept;
  // What the application says of one image that it presents.
  struct Request {
    uint32_t index = 0;
    uint32_t picture = 0;
    uint64_t id = 0;                       // 0: none
    std::optional<VkPresentModeKHR> mode;  // from now on, for what is queued too
  };
  // The image will be ready when `at` is reached. Returns what vkQueuePresentKHR returns for the swapchain.
  VkResult Present(const Request& request, const SubmitPoint& at) noexcept;
  // The application has no use for an image that it acquired.
  void GiveBack(uint32_t index) noexcept;
  // Waits until an image was shown that was presented with this id or a later one. VK_SUCCESS, VK_TIMEOUT, or an error.
  VkResult AwaitShown(uint64_t id, uint64_t timeout) noexcept;
  // Another swapchain takes over the window. From now on no image can be acquired, and queued images are not shown, since they
  // would replace pictures of the other swapchain.
  void Retire() noexcept;
  // The surface is being destroyed: nothing is shown any more, and nothing of the window is touched from then on. Every call says
  // VK_ERROR_SURFACE_LOST_KHR.
  void Part() noexcept;

 private:
  enum class Owner : uint8_t { kFree, kApplication, kPresenter };
  struct Frame {
    uint32_t index = 0;
    uint32_t picture = 0;
    uint64_t id = 0;
    SubmitPoint at;
  };

  void EndThread() noexcept;
  void Run() noexcept;
  bool Step() noexcept;
  bool AwaitFrame(Clock::time_point until, Frame* frame);
  WaitOutcome AwaitCompletion(const Frame& frame, Clock::time_point until) noexcept;
  void TakeReady(const Frame& frame) noexcept;
  void ShowReady() noexcept;
  bool IsRetired() noexcept;
  void Release(const Frame& frame) noexcept;
  void Fail(VkResult result) noexcept;
  Clock::time_point Due() noexcept;
  Clock::time_point DueLocked() const noexcept VESPER_REQUIRES(mutex_);
  void PainterChanged() noexcept override;
  // Whether an image can be acquired, or none ever will be.
  bool Acquires() const VESPER_REQUIRES(mutex_) { return !free_.empty() || status_ < 0 || retired_; }

  Device* const device_;
  SurfaceState* surface_;  // nullptr: it is gone
  std::atomic<VkPresentModeKHR> mode_;
  const std::vector<Picture> pictures_;
  std::unique_ptr<Painter> painter_;
  const bool awaited_;

  Mutex mutex_;
  Condition free_wake_;    // an image came free, or none will
  Condition shown_wake_;   // an image was shown, or none will be
  Condition queued_wake_;  // for the thread
  std::vector<Owner> owners_ VESPER_GUARDED_BY(mutex_);
  // Their capacity suffices for every image, so that nothing here can fail.
  std::vector<uint32_t> free_ VESPER_GUARDED_BY(mutex_);           // the longest free first
  std::vector<uint32_t> free_pictures_ VESPER_GUARDED_BY(mutex_);  // the one that was shown last is last
  std::vector<Frame> queued_ VESPER_GUARDED_BY(mutex_);            // in the order of vkQueuePresentKHR
  // Once it is no success it stays so; errors replace VK_SUBOPTIMAL_KHR.
  VkResult status_ VESPER_GUARDED_BY(mutex_) = VK_SUCCESS;
  uint64_t presented_ VESPER_GUARDED_BY(mutex_) = 0;  // images so far
  uint64_t finished_ VESPER_GUARDED_BY(mutex_) = 0;   // of those, shown or replaced
  uint64_t shown_id_ VESPER_GUARDED_BY(mutex_) = 0;  // the latest
  bool retired_ VESPER_GUARDED_BY(mutex_) = false;
  bool stopping_ VESPER_GUARDED_BY(mutex_) = false;

  std::optional<Frame> ready_;    // the thread's alone
  Clock::time_point shown_at_{};  // the thread's alone
  std::thread thread_;            // last
};

}  // namespace vesper::client
