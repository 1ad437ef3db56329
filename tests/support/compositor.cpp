#include "tests/support/compositor.h"

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wayland-server.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <utility>

namespace vesper::test {
namespace {

constexpr int kCompositorVersion = 4;
constexpr std::chrono::seconds kPatience{60};

// A buffer that a client may not write to until it is released.
struct Held {
  wl_listener destroyed{};  // first: wl_container_of by hand
  wl_resource* buffer = nullptr;
  std::vector<uint32_t> pixels;
};

std::vector<uint32_t> Read(wl_shm_buffer* buffer) {
  const auto width = static_cast<size_t>(wl_shm_buffer_get_width(buffer));
  const auto height = static_cast<size_t>(wl_shm_buffer_get_height(buffer));
  const auto stride = static_cast<size_t>(wl_shm_buffer_get_stride(buffer));
  std::vector<uint32_t> pixels(width * height);
  wl_shm_buffer_begin_access(buffer);
  const auto* from = static_cast<const uint8_t*>(wl_shm_buffer_get_data(buffer));
  for (size_t y = 0; y < height; ++y) std::memcpy(&pixels[y * width], from + y * stride, width * 4);
  wl_shm_buffer_end_access(buffer);
  return pixels;
}

}  // namespace

struct Compositor::Surface {
  Compositor* compositor = nullptr;
  uint32_t number = 0;
  wl_resource* resource = nullptr;
  wl_resource* pending = nullptr;
  bool attached = false;
  std::vector<Shown::Rectangle> damage;
  std::vector<wl_resource*> frames_pending;
  std::vector<wl_resource*> frames;
  std::vector<std::unique_ptr<Held>> held;  // the newest last

  void ReleaseOld() {
    for (const auto& each : held) {
      if (each != held.back()) Let(each.get());
    }
    if (!held.empty()) held.erase(held.begin(), held.end() - 1);
  }
  void Let(Held* each) const {
    wl_list_remove(&each->destroyed.link);
    if (each->buffer == nullptr) return;
    if (Read(wl_shm_buffer_get(each->buffer)) != each->pixels) {
      const std::lock_guard lock(compositor->mutex_);
      ++compositor->torn_;
    }
    wl_buffer_send_release(each->buffer);
  }
  void AnswerFrames() {
    for (wl_resource* callback : std::exchange(frames, {})) {
      wl_callback_send_done(callback, 0);
      wl_resource_destroy(callback);
    }
  }
};

// What clients ask for; all of it runs on the compositor's thread.
struct Handlers {
  using Surface = Compositor::Surface;
  static Surface* Of(wl_resource* resource) { return static_cast<Surface*>(wl_resource_get_user_data(resource)); }

  static void Destroy(wl_client*, wl_resource* resource) { wl_resource_destroy(resource); }
  static void Attach(wl_client*, wl_resource* resource, wl_resource* buffer, int32_t, int32_t) {
    Of(resource)->pending = buffer;
    Of(resource)->attached = true;
  }
  static void Damage(wl_client*, wl_resource* resource, int32_t x, int32_t y, int32_t width, int32_t height) {
    Of(resource)->damage.push_back({x, y, width, height});
  }
  static void Forget(wl_resource* callback) {
    auto* surface = Of(callback);
    if (surface == nullptr) return;
    std::erase(surface->frames, callback);
    std::erase(surface->frames_pending, callback);
  }
  static void Frame(wl_client* client, wl_resource* resource, uint32_t id) {
    wl_resource* callback = wl_resource_create(client, &wl_callback_interface, 1, id);
    wl_resource_set_implementation(callback, nullptr, Of(resource), Forget);
    Of(resource)->frames_pending.push_back(callback);
  }
  static void Region(wl_client*, wl_resource*, wl_resource*) {}
  static void Number(wl_client*, wl_resource*, int32_t) {}
  static void Offset(wl_client*, wl_resource*, int32_t, int32_t) {}

  static void Commit(wl_client*, wl_resource* resource) {
    Surface* surface = Of(resource);
    Compositor* compositor = surface->compositor;
    surface->frames.insert(surface->frames.end(), surface->frames_pending.begin(), surface->frames_pending.end());
    surface->frames_pending.clear();
    if (std::exchange(surface->attached, false) && surface->pending != nullptr) Show(surface);
    surface->damage.clear();
    if (compositor->answers_) surface->AnswerFrames();
  }
  static void Gone(wl_listener* listener, void*) { reinterpret_cast<Held*>(listener)->buffer = nullptr; }
  static void Show(Surface* surface) {
    Compositor* compositor = surface->compositor;
    wl_shm_buffer* buffer = wl_shm_buffer_get(surface->pending);
    auto held = std::make_unique<Held>();
    held->buffer = surface->pending;
    held->pixels = Read(buffer);
    held->destroyed.notify = Gone;
    wl_resource_add_destroy_listener(surface->pending, &held->destroyed);
    Compositor::Shown shown = {surface->number,
                               static_cast<uint32_t>(wl_shm_buffer_get_width(buffer)),
                               static_cast<uint32_t>(wl_shm_buffer_get_height(buffer)),
                               wl_shm_buffer_get_format(buffer),
                               surface->damage,
                               held->pixels};
    surface->held.push_back(std::move(held));
    if (compositor->releases_) surface->ReleaseOld();
    const std::lock_guard lock(compositor->mutex_);
    compositor->shown_.push_back(std::move(shown));
    compositor->changed_.notify_all();
  }

  static void End(wl_resource* resource) {
    const std::unique_ptr<Surface> surface(Of(resource));
    for (const auto& each : surface->held) wl_list_remove(&each->destroyed.link);
    for (wl_resource* each : surface->frames) wl_resource_set_user_data(each, nullptr);
    for (wl_resource* each : surface->frames_pending) wl_resource_set_user_data(each, nullptr);
    surface->compositor->surfaces_[surface->number] = nullptr;
  }
  static void CreateSurface(wl_client* client, wl_resource* resource, uint32_t id) {
    static constexpr struct wl_surface_interface kSurface = {Destroy, Attach, Damage, Frame,  Region, Region,
                                                             Commit,  Number, Number, Damage, Offset};
    auto* compositor = static_cast<Compositor*>(wl_resource_get_user_data(resource));
    auto* surface = new Surface;
    surface->compositor = compositor;
    surface->number = static_cast<uint32_t>(compositor->surfaces_.size());
    surface->resource = wl_resource_create(client, &wl_surface_interface, wl_resource_get_version(resource), id);
    wl_resource_set_implementation(surface->resource, &kSurface, surface, End);
    compositor->surfaces_.push_back(surface);
  }
  static void CreateRegion(wl_client* client, wl_resource*, uint32_t id) {
    static constexpr auto kAny = [](wl_client*, wl_resource*, int32_t, int32_t, int32_t, int32_t) {};
    static constexpr struct wl_region_interface kRegion = {Destroy, kAny, kAny};
    wl_resource_set_implementation(wl_resource_create(client, &wl_region_interface, 1, id), &kRegion, nullptr, nullptr);
  }
  static void Bind(wl_client* client, void* compositor, uint32_t version, uint32_t id) {
    static constexpr struct wl_compositor_interface kCompositor = {CreateSurface, CreateRegion};
    wl_resource* made = wl_resource_create(client, &wl_compositor_interface, static_cast<int>(version), id);
    wl_resource_set_implementation(made, &kCompositor, compositor, nullptr);
  }
};

Compositor::Compositor(const std::vector<uint32_t>& formats, bool with_shm)
    : display_(wl_display_create()), wake_(eventfd(0, EFD_CLOEXEC)) {
  if (display_ == nullptr || wake_ < 0) throw std::runtime_error("no compositor can be made");
  wl_global_create(display_, &wl_compositor_interface, kCompositorVersion, this, Handlers::Bind);
  if (with_shm) wl_display_init_shm(display_);
  for (const uint32_t format : formats) wl_display_add_shm_format(display_, format);
  const auto woken = [](int fd, uint32_t, void* self) {
    auto* compositor = static_cast<Compositor*>(self);
    uint64_t times = 0;
    if (read(fd, &times, sizeof(times)) < 0) return 0;
    std::unique_lock lock(compositor->mutex_);
    while (!compositor->wanted_.empty()) {
      const auto* what = compositor->wanted_.front();
      lock.unlock();
      (*what)();
      lock.lock();
      compositor->wanted_.erase(compositor->wanted_.begin());
      compositor->changed_.notify_all();
    }
    return 0;
  };
  wakes_ = wl_event_loop_add_fd(wl_display_get_event_loop(display_), wake_, WL_EVENT_READABLE, woken, this);
  thread_ = std::thread([this] { wl_display_run(display_); });
}

Compositor::~Compositor() {
  Do([this] { wl_display_terminate(display_); });
  thread_.join();
  wl_display_destroy_clients(display_);
  wl_event_source_remove(wakes_);
  wl_display_destroy(display_);
  close(wake_);
}

void Compositor::Do(const std::function<void()>& what) {
  std::unique_lock lock(mutex_);
  wanted_.push_back(&what);
  const uint64_t once = 1;
  if (write(wake_, &once, sizeof(once)) < 0) throw std::runtime_error("the compositor cannot be woken");
  changed_.wait(lock, [&] { return std::find(wanted_.begin(), wanted_.end(), &what) == wanted_.end(); });
}

int Compositor::Connect() {
  int ends[2] = {-1, -1};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) throw std::runtime_error("no pair of sockets");
  Do([&] { clients_.push_back(wl_client_create(display_, ends[0])); });
  return ends[1];
}

void Compositor::Answer(bool frames) {
  Do([&] { answers_ = frames; });
}
void Compositor::Release(bool buffers) {
  Do([&] { releases_ = buffers; });
}
void Compositor::AnswerNow() {
  Do([&] {
    for (Surface* each : surfaces_) {
      if (each != nullptr) each->AnswerFrames();
    }
  });
}
void Compositor::ReleaseNow() {
  Do([&] {
    for (Surface* each : surfaces_) {
      if (each != nullptr) each->ReleaseOld();
    }
  });
}
void Compositor::Refuse() {
  Do([&] { wl_resource_post_error(surfaces_.front()->resource, 0, "refused by the test"); });
}
void Compositor::HangUp() {
  Do([&] {
    for (wl_client* each : std::exchange(clients_, {})) wl_client_destroy(each);
  });
}

size_t Compositor::count() {
  const std::lock_guard lock(mutex_);
  return shown_.size();
}
Compositor::Shown Compositor::Get(size_t index) {
  const std::lock_guard lock(mutex_);
  return shown_.at(index);
}
bool Compositor::Await(size_t count) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kPatience, [&] { return shown_.size() >= count; });
}
size_t Compositor::torn() {
  const std::lock_guard lock(mutex_);
  return torn_;
}
size_t Compositor::held() {
  size_t sum = 0;
  Do([&] {
    for (const Surface* each : surfaces_) sum += each == nullptr ? 0 : each->held.size();
  });
  return sum;
}

}  // namespace vesper::test
