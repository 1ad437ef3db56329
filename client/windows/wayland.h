// Windows of Wayland: pictures in memory shared with the compositor (wl_shm), over the application's connection. Events that are
// meant for us come to queues of our own; the application's are read, as every thread that reads must, and never dispatched. Of
// its surface only the buffer, damage and a frame callback are set, and committed: roles are the application's.
//
// Trust: the compositor is the application's. Threads: libwayland locks. A painter has a thread, which handles its queue.
#pragma once

#include <vulkan/vulkan.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "client/base/limits.h"
#include "client/windows/pixels.h"
#include "client/windows/platform.h"
#include "client/windows/target.h"
#include "runtime/mutex.h"

struct wl_buffer;
struct wl_callback;
struct wl_event_queue;
struct wl_registry;
struct wl_shm;

namespace vesper::client {

struct WaylandLibrary;

// The compositor's wl_shm, bound on a queue of its own. Movable by nobody: events point to it.
class WaylandShm {
 public:
  WaylandShm() = default;
  WaylandShm(const WaylandShm&) = delete;
  WaylandShm& operator=(const WaylandShm&) = delete;

  // Two round trips to the compositor. False when it has none, the connection is gone, or the library is missing.
  bool Bind(wl_display* display) noexcept;
  // Lets go of everything. Not in the destructor: the application may have closed the connection.
  void Release() noexcept;
  wl_shm* shm() const { return shm_; }
  bool Has(uint32_t format) const noexcept;  // a wl_shm_format

 private:
  static void OnGlobal(void* self, wl_registry* registry, uint32_t name, const char* interface, uint32_t version);
  static void OnGlobalRemove(void*, wl_registry*, uint32_t) {}
  static void OnFormat(void* self, wl_shm* shm, uint32_t format);

  wl_event_queue* queue_ = nullptr;
  wl_display* display_ = nullptr;  // a wrapper
  wl_registry* registry_ = nullptr;
  wl_shm* shm_ = nullptr;
  uint32_t formats_ = 0;  // a bit for each that we know
};

class WaylandWindow final : public SurfaceTarget {
 public:
  WaylandWindow(wl_display* display, wl_surface* surface) noexcept;
  VkResult Extent(VkExtent2D* extent) noexcept override;
  VkResult Formats(std::vector<VkFormat>* formats) override;
  std::span<const VkPresentModeKHR> modes() const noexcept override;
  VkCompositeAlphaFlagsKHR alphas() const noexcept override {
    return VK_COMPOSITE_ALPHA_OPAQUE_BIT_KHR | VK_COMPOSITE_ALPHA_PRE_MULTIPLIED_BIT_KHR;
  }
  VkResult MakePainter(const Painting& painting, std::unique_ptr<Painter>* painter) noexcept override;
  void Close() noexcept override { shm_.Release(); }

 private:
  bool gone() const noexcept;

  wl_display* const display_;
  wl_surface* const surface_;
  WaylandShm shm_;
};

// Shows pictures in buffers of its own, of which the compositor holds those that it has not released.
class WaylandPainter final : public Painter {
 public:
  struct Picture {
    uint32_t width = 0;
    uint32_t height = 0;
    uint32_t format = 0;  // a wl_shm_format
    PixelConversion conversion;
  };
  // `shm` may go before the painter does. nullptr without memory.
  static std::unique_ptr<WaylandPainter> Make(wl_display* display, wl_surface* surface, wl_shm* shm,
                                              const Picture& picture) noexcept;
  ~WaylandPainter() override;

  Outcome Show(const uint8_t* pixels) noexcept override;
  bool paces() const override { return true; }
  bool Due() const noexcept override { return due_.load(std::memory_order_acquire); }
  bool gone() const noexcept override { return gone_.load(std::memory_order_acquire); }
  void Watch(Watcher* watcher) override;
  void Rest() noexcept override;
  bool unsure() const noexcept override { return true; }
  bool awaited() const noexcept override;

 private:
  struct Slot {
    WaylandPainter* painter = nullptr;
    wl_buffer* buffer = nullptr;
    uint8_t* pixels = nullptr;  // shared with the compositor
    bool held = false;          // by the compositor; mutex_ guards it
  };

  WaylandPainter(wl_display* display, const Picture& picture) : display_(display), picture_(picture) {}
  size_t size() const { return size_t{picture_.width} * picture_.height * kBytesPerPixel; }
  bool Fill(Slot* slot) noexcept;
  Slot* AwaitSlot() noexcept;
  void Run() noexcept;
  bool Dispatch() noexcept;
  void Wake() const noexcept;
  void Tell() noexcept;
  static void OnDone(void* self, wl_callback* callback, uint32_t time);
  static void OnRelease(void* slot, wl_buffer* buffer);

  wl_display* const display_;
  const Picture picture_;
  wl_event_queue* queue_ = nullptr;
  wl_surface* surface_ = nullptr;  // wrappers, whose events come to queue_
  wl_shm* shm_ = nullptr;
  int wake_ = -1;  // an eventfd
  std::array<Slot, limits::kWaylandBuffers> slots_{};
  Slot* last_ = nullptr;  // what was shown last, by whoever shows
  std::atomic<bool> due_{true};
  std::atomic<bool> gone_{false};
  std::atomic<bool> ending_{false};

  Mutex mutex_;
  Condition released_;
  wl_callback* frame_ VESPER_GUARDED_BY(mutex_) = nullptr;
  bool resting_ VESPER_GUARDED_BY(mutex_) = false;
  Mutex watcher_mutex_;  // held while the watcher is told
  Watcher* watcher_ VESPER_GUARDED_BY(watcher_mutex_) = nullptr;
  std::thread thread_;
};

// Whether the compositor takes pictures as we have them.
bool TakesPictures(wl_display* display) noexcept;

}  // namespace vesper::client
