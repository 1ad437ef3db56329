#include "client/windows/wayland.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <iterator>
#include <new>

#include "client/base/thread.h"
#include "client/windows/wayland_library.h"

namespace vesper::client {
namespace {

// What pixels of a Vulkan format are called there, without and with their fourth channel.
struct Named {
  VkFormat format;
  uint32_t opaque;
  uint32_t alpha;
  bool swap_red_blue;
};
constexpr Named kNames[] = {
    {VK_FORMAT_B8G8R8A8_SRGB, WL_SHM_FORMAT_XRGB8888, WL_SHM_FORMAT_ARGB8888, false},
    {VK_FORMAT_B8G8R8A8_UNORM, WL_SHM_FORMAT_XRGB8888, WL_SHM_FORMAT_ARGB8888, false},
    {VK_FORMAT_R8G8B8A8_SRGB, WL_SHM_FORMAT_XRGB8888, WL_SHM_FORMAT_ARGB8888, true},
    {VK_FORMAT_R8G8B8A8_UNORM, WL_SHM_FORMAT_XRGB8888, WL_SHM_FORMAT_ARGB8888, true},
    {VK_FORMAT_A2R10G10B10_UNORM_PACK32, WL_SHM_FORMAT_XRGB2101010, WL_SHM_FORMAT_ARGB2101010, false},
    {VK_FORMAT_A2B10G10R10_UNORM_PACK32, WL_SHM_FORMAT_XBGR2101010, WL_SHM_FORMAT_ABGR2101010, false},
};

// Those whose offers are noted, each a bit.
constexpr uint32_t kKnown[] = {WL_SHM_FORMAT_XRGB8888,    WL_SHM_FORMAT_ARGB8888,    WL_SHM_FORMAT_XRGB2101010,
                               WL_SHM_FORMAT_ARGB2101010, WL_SHM_FORMAT_XBGR2101010, WL_SHM_FORMAT_ABGR2101010};

uint32_t BitOf(uint32_t format) {
  const auto* found = std::find(std::begin(kKnown), std::end(kKnown), format);
  return found == std::end(kKnown) ? 0 : 1u << (found - std::begin(kKnown));
}

// Allocated, so that exhaustion is an error here and no SIGBUS later, here or in the compositor. -1: there is none.
int MakeMemory(size_t size) {
  const int memory = memfd_create("vesper-window", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (memory < 0) return -1;
  if (posix_fallocate(memory, 0, static_cast<off_t>(size)) != 0) {
    close(memory);
    return -1;
  }
  fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK);  // what a kernel without seals lacks, nobody needs
  return memory;
}

}  // namespace

// --- what a compositor has -----------------------------------------------------------------------------------------------

bool WaylandShm::Bind(wl_display* display) noexcept {
  const WaylandLibrary* wayland = Wayland();
  if (wayland == nullptr || wayland->display_get_error(display) != 0) return false;
  queue_ = wayland->display_create_queue(display);
  if (queue_ == nullptr) return false;
  display_ = wayland->Wrapper(display, queue_);
  if (display_ != nullptr) registry_ = wayland->GetRegistry(display_);
  if (registry_ == nullptr) return false;
  static constexpr wl_registry_listener kRegistry = {OnGlobal, OnGlobalRemove};
  wayland->Listen(registry_, &kRegistry, this);
  if (wayland->display_roundtrip_queue(display, queue_) < 0 || shm_ == nullptr) return false;
  return wayland->display_roundtrip_queue(display, queue_) >= 0;
}

void WaylandShm::Release() noexcept {
  const WaylandLibrary* wayland = Wayland();
  if (queue_ == nullptr) return;
  wayland->Destroy(shm_);
  wayland->Destroy(registry_);
  wayland->DestroyWrapper(display_);
  wayland->event_queue_destroy(queue_);
  shm_ = nullptr;
  registry_ = nullptr;
  display_ = nullptr;
  queue_ = nullptr;
}

bool WaylandShm::Has(uint32_t format) const noexcept { return (formats_ & BitOf(format)) != 0; }

void WaylandShm::OnGlobal(void* self, wl_registry* registry, uint32_t name, const char* interface, uint32_t) {
  auto* shm = static_cast<WaylandShm*>(self);
  if (shm->shm_ != nullptr || std::strcmp(interface, "wl_shm") != 0) return;
  shm->shm_ = Wayland()->BindShm(registry, name);
  static constexpr wl_shm_listener kFormats = {OnFormat};
  if (shm->shm_ != nullptr) Wayland()->Listen(shm->shm_, &kFormats, self);
}

void WaylandShm::OnFormat(void* self, wl_shm*, uint32_t format) {
  static_cast<WaylandShm*>(self)->formats_ |= BitOf(format);
}

bool TakesPictures(wl_display* display) noexcept {
  WaylandShm shm;
  const bool takes = shm.Bind(display);
  shm.Release();
  return takes;
}

// --- windows -------------------------------------------------------------------------------------------------------------

WaylandWindow::WaylandWindow(wl_display* display, wl_surface* surface) noexcept : display_(display), surface_(surface) {
  shm_.Bind(display);
}

bool WaylandWindow::gone() const noexcept {
  return Wayland() == nullptr || Wayland()->display_get_error(display_) != 0;
}

VkResult WaylandWindow::Extent(VkExtent2D* extent) noexcept {
  *extent = {UINT32_MAX, UINT32_MAX};
  return gone() ? VK_ERROR_SURFACE_LOST_KHR : VK_SUCCESS;
}

VkResult WaylandWindow::Formats(std::vector<VkFormat>* formats) {
  if (gone()) return VK_ERROR_SURFACE_LOST_KHR;
  if (shm_.shm() == nullptr) return VK_SUCCESS;
  for (const Named& each : kNames) {
    if (shm_.Has(each.opaque) && shm_.Has(each.alpha)) formats->push_back(each.format);
  }
  return VK_SUCCESS;
}

// No IMMEDIATE: a compositor shows what is committed when it draws next, which is MAILBOX.
std::span<const VkPresentModeKHR> WaylandWindow::modes() const noexcept {
  static constexpr VkPresentModeKHR kModes[] = {VK_PRESENT_MODE_MAILBOX_KHR, VK_PRESENT_MODE_FIFO_KHR};
  return kModes;
}

VkResult WaylandWindow::MakePainter(const Painting& painting, std::unique_ptr<Painter>* painter) noexcept {
  if (gone()) return VK_ERROR_SURFACE_LOST_KHR;
  const auto* named = std::find_if(std::begin(kNames), std::end(kNames),
                                   [&](const Named& each) { return each.format == painting.format; });
  if (shm_.shm() == nullptr || named == std::end(kNames)) return VK_ERROR_INITIALIZATION_FAILED;
  // The protocol counts bytes in 31 bits.
  const uint64_t size = uint64_t{painting.extent.width} * painting.extent.height * kBytesPerPixel;
  if (size > INT32_MAX) return VK_ERROR_OUT_OF_HOST_MEMORY;
  const bool opaque = painting.alpha == VK_COMPOSITE_ALPHA_OPAQUE_BIT_KHR;
  *painter = WaylandPainter::Make(display_, surface_, shm_.shm(),
                                  {.width = painting.extent.width,
                                   .height = painting.extent.height,
                                   .format = opaque ? named->opaque : named->alpha,
                                   .conversion = {.swap_red_blue = named->swap_red_blue, .opaque = false}});
  return *painter == nullptr ? VK_ERROR_OUT_OF_HOST_MEMORY : VK_SUCCESS;
}

// --- painting ------------------------------------------------------------------------------------------------------------

std::unique_ptr<WaylandPainter> WaylandPainter::Make(wl_display* display, wl_surface* surface, wl_shm* shm,
                                                     const Picture& picture) noexcept {
  const WaylandLibrary* wayland = Wayland();
  std::unique_ptr<WaylandPainter> painter(new (std::nothrow) WaylandPainter(display, picture));
  if (painter == nullptr) return nullptr;
  painter->queue_ = wayland->display_create_queue(display);
  if (painter->queue_ == nullptr) return nullptr;
  painter->surface_ = wayland->Wrapper(surface, painter->queue_);
  painter->shm_ = wayland->Wrapper(shm, painter->queue_);
  painter->wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  const bool made = painter->surface_ != nullptr && painter->shm_ != nullptr && painter->wake_ >= 0;
  return made ? std::move(painter) : nullptr;
}

void WaylandPainter::Watch(Watcher* watcher) {
  {
    const MutexLock lock(watcher_mutex_);
    watcher_ = watcher;
  }
  thread_ = StartWithoutSignals([this] { return std::thread([this] { Run(); }); });
}

void WaylandPainter::Rest() noexcept {
  {
    const MutexLock lock(watcher_mutex_);
    watcher_ = nullptr;
  }
  const MutexLock lock(mutex_);
  resting_ = true;
  released_.NotifyAll();
}

WaylandPainter::~WaylandPainter() {
  const WaylandLibrary& wayland = *Wayland();
  if (thread_.joinable()) {
    ending_.store(true, std::memory_order_release);
    Wake();
    thread_.join();
  }
  {
    const MutexLock lock(mutex_);
    wayland.Destroy(frame_);
  }
  for (const Slot& slot : slots_) {
    wayland.DestroyBuffer(slot.buffer);
    if (slot.pixels != nullptr) munmap(slot.pixels, size());
  }
  wayland.DestroyWrapper(shm_);
  wayland.DestroyWrapper(surface_);
  if (queue_ != nullptr) {
    wayland.event_queue_destroy(queue_);
    wayland.display_flush(display_);
  }
  if (wake_ >= 0) close(wake_);
}

Painter::Outcome WaylandPainter::Show(const uint8_t* pixels) noexcept {
  const WaylandLibrary& wayland = *Wayland();
  Slot* slot = AwaitSlot();
  if (gone()) return Outcome::kGone;
  // Nothing is shown where the compositor keeps all that there are, or there is no memory.
  if (slot == nullptr || !Fill(slot)) return Outcome::kShown;
  ConvertPixels(slot->pixels, pixels, size_t{picture_.width} * picture_.height, picture_.conversion);
  wayland.Attach(surface_, slot->buffer);
  if (last_ == nullptr || last_ == slot || !wayland.DamagesPixels(surface_)) {
    wayland.DamageAll(surface_);
  } else {
    FindChanges(slot->pixels, last_->pixels, picture_.width, picture_.height,
                [&](uint32_t x, uint32_t y, uint32_t width, uint32_t height) {
                  wayland.Damage(surface_, x, y, width, height);
                });
  }
  last_ = slot;
  {
    // What answers is heard of by then: the callback comes after the commit, the release after another one.
    const MutexLock lock(mutex_);
    slot->held = true;
    due_.store(false, std::memory_order_release);
    if (frame_ == nullptr) {
      frame_ = wayland.Frame(surface_);
      static constexpr wl_callback_listener kDone = {OnDone};
      if (frame_ != nullptr) wayland.Listen(frame_, &kDone, this);
    }
  }
  wayland.Commit(surface_);
  if (wayland.display_flush(display_) < 0) Wake();  // by whom the rest is sent, or the end noticed
  return Outcome::kShown;
}

// One that the compositor does not hold, and that was not shown last if there is another: what changes can be told then. nullptr once the connection is gone, or when resting has waited long enough.
WaylandPainter::Slot* WaylandPainter::AwaitSlot() noexcept {
  const MutexLock lock(mutex_);
  auto until = std::chrono::steady_clock::time_point::max();
  while (!gone()) {
    const auto free = [this](const Slot& slot) { return !slot.held && &slot != last_; };
    const auto found = std::find_if(slots_.begin(), slots_.end(), free);
    if (found != slots_.end()) return &*found;
    if (last_ != nullptr && !last_->held) return last_;
    const auto now = std::chrono::steady_clock::now();
    if (resting_) until = std::min(until, now + limits::kReleasePatience);
    if (now >= until) return nullptr;
    released_.WaitUntil(mutex_, until);
  }
  return nullptr;
}

// Makes the slot's buffer when it is first used. False without memory.
bool WaylandPainter::Fill(Slot* slot) noexcept {
  if (slot->buffer != nullptr) return true;
  const int memory = MakeMemory(size());
  if (memory < 0) return false;
  void* mapped = mmap(nullptr, size(), PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
  if (mapped != MAP_FAILED) {
    madvise(mapped, size(), MADV_DONTFORK);
    slot->painter = this;
    slot->buffer = Wayland()->CreateBuffer(shm_, memory, picture_.width, picture_.height, picture_.format);
    static constexpr wl_buffer_listener kRelease = {OnRelease};
    if (slot->buffer == nullptr) {
      munmap(mapped, size());
    } else {
      slot->pixels = static_cast<uint8_t*>(mapped);
      Wayland()->Listen(slot->buffer, &kRelease, slot);
    }
  }
  close(memory);
  return slot->buffer != nullptr;
}

// Drivers of the machine have a picture in the window when vkQueuePresentKHR returns. Qt relies on it: it destroys windows ahead
// of their swapchains.
bool WaylandPainter::awaited() const noexcept {
  for (const char* name : {"libQt6WaylandClient.so.6", "libQt5WaylandClient.so.5"}) {
    void* library = dlopen(name, RTLD_LAZY | RTLD_NOLOAD);
    if (library == nullptr) continue;
    dlclose(library);
    return true;
  }
  return false;
}

// --- the painter's thread ------------------------------------------------------------------------------------------------

void WaylandPainter::Run() noexcept {
  while (!ending_.load(std::memory_order_acquire)) {
    if (Dispatch()) continue;
    gone_.store(true, std::memory_order_release);
    {
      const MutexLock lock(mutex_);
      released_.NotifyAll();
    }
    Tell();
    return;
  }
}

// Waits for events of any queue, handles those of ours. False when the connection is gone.
bool WaylandPainter::Dispatch() noexcept {
  const WaylandLibrary& wayland = *Wayland();
  while (wayland.display_prepare_read_queue(display_, queue_) != 0) {
    if (wayland.display_dispatch_queue_pending(display_, queue_) < 0) return false;
  }
  // What fails but for want of room in the socket is noticed by reading, as what the compositor said before is read too.
  const bool unsent = wayland.display_flush(display_) < 0 && errno == EAGAIN;
  const auto wanted = static_cast<short>(POLLIN | (unsent ? POLLOUT : 0));
  pollfd watched[] = {{wayland.display_get_fd(display_), wanted, 0}, {wake_, POLLIN, 0}};
  const int ready = poll(watched, std::size(watched), -1);
  if (ready > 0 && (watched[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
    if (wayland.display_read_events(display_) < 0 && wayland.display_get_error(display_) != 0) return false;
  } else {
    wayland.display_cancel_read(display_);
  }
  uint64_t times = 0;
  if (watched[1].revents != 0 && read(wake_, &times, sizeof(times)) < 0 && errno != EAGAIN) return false;
  return wayland.display_dispatch_queue_pending(display_, queue_) >= 0;
}

void WaylandPainter::Wake() const noexcept {
  const uint64_t once = 1;
  if (write(wake_, &once, sizeof(once)) < 0) return;  // it is full: awake already
}

void WaylandPainter::Tell() noexcept {
  const MutexLock lock(watcher_mutex_);
  if (watcher_ != nullptr) watcher_->PainterChanged();
}

void WaylandPainter::OnDone(void* self, wl_callback* callback, uint32_t) {
  auto* painter = static_cast<WaylandPainter*>(self);
  {
    const MutexLock lock(painter->mutex_);
    Wayland()->Destroy(callback);
    painter->frame_ = nullptr;
    painter->due_.store(true, std::memory_order_release);
  }
  painter->Tell();
}

void WaylandPainter::OnRelease(void* slot, wl_buffer*) {
  auto* released = static_cast<Slot*>(slot);
  const MutexLock lock(released->painter->mutex_);
  released->held = false;
  released->painter->released_.NotifyAll();
}

}  // namespace vesper::client
