#include "client/windows/wayland_library.h"

#include <dlfcn.h>

#include <cstdint>

#include "client/base/log.h"

namespace vesper::client {
namespace {

template <typename T>
wl_proxy* ProxyOf(T* object) {
  return reinterpret_cast<wl_proxy*>(object);
}

template <typename Pointer>
bool Find(void* library, const char* name, Pointer* pointer) {
  *pointer = reinterpret_cast<Pointer>(dlsym(library, name));
  return *pointer != nullptr;
}

// The library stays loaded: the application may have it too, and threads of ours may be inside.
bool Load(WaylandLibrary* wayland) {
  void* library = dlopen("libwayland-client.so.0", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  bool found = library != nullptr;
#define VESPER_WAYLAND_FIND(name) found = found && Find(library, "wl_" #name, &wayland->name);
#define VESPER_WAYLAND_FIND_INTERFACE(name) found = found && Find(library, "wl_" #name "_interface", &wayland->name);
  VESPER_WAYLAND_FUNCTIONS(VESPER_WAYLAND_FIND)
  VESPER_WAYLAND_INTERFACES(VESPER_WAYLAND_FIND_INTERFACE)
#undef VESPER_WAYLAND_FIND
#undef VESPER_WAYLAND_FIND_INTERFACE
  if (!found)
    Log(LogLevel::kError,
        "windows of Wayland need libwayland-client.so.0 of 1.20 or later, which cannot be loaded: install "
        "libwayland-client0");
  return found;
}

}  // namespace

const WaylandLibrary* Wayland() noexcept {
  static WaylandLibrary library;
  static const bool loaded = Load(&library);
  return loaded ? &library : nullptr;
}

wl_registry* WaylandLibrary::GetRegistry(wl_display* display) const {
  return reinterpret_cast<wl_registry*>(proxy_marshal_flags(ProxyOf(display), WL_DISPLAY_GET_REGISTRY, registry,
                                                            proxy_get_version(ProxyOf(display)), 0, nullptr));
}

wl_shm* WaylandLibrary::BindShm(wl_registry* of, uint32_t name) const {
  constexpr uint32_t kVersion = 1;
  return reinterpret_cast<wl_shm*>(
      proxy_marshal_flags(ProxyOf(of), WL_REGISTRY_BIND, shm, kVersion, 0, name, shm->name, kVersion, nullptr));
}

wl_buffer* WaylandLibrary::CreateBuffer(wl_shm* of, int memory, uint32_t width, uint32_t height,
                                        uint32_t format) const {
  const uint32_t version = proxy_get_version(ProxyOf(of));
  const auto row = static_cast<int32_t>(width * 4);
  const auto rows = static_cast<int32_t>(height);
  wl_proxy* pool =
      proxy_marshal_flags(ProxyOf(of), WL_SHM_CREATE_POOL, shm_pool, version, 0, nullptr, memory, row * rows);
  if (pool == nullptr) return nullptr;
  wl_proxy* made = proxy_marshal_flags(pool, WL_SHM_POOL_CREATE_BUFFER, buffer, version, 0, nullptr, 0,
                                       static_cast<int32_t>(width), rows, row, format);
  // The compositor keeps the memory as long as the buffer is there.
  proxy_marshal_flags(pool, WL_SHM_POOL_DESTROY, nullptr, version, WL_MARSHAL_FLAG_DESTROY);
  return reinterpret_cast<wl_buffer*>(made);
}

wl_callback* WaylandLibrary::Frame(wl_surface* surface) const {
  wl_proxy* of = ProxyOf(surface);
  return reinterpret_cast<wl_callback*>(
      proxy_marshal_flags(of, WL_SURFACE_FRAME, callback, proxy_get_version(of), 0, nullptr));
}

void WaylandLibrary::Attach(wl_surface* surface, wl_buffer* attached) const {
  wl_proxy* to = ProxyOf(surface);
  proxy_marshal_flags(to, WL_SURFACE_ATTACH, nullptr, proxy_get_version(to), 0, attached, 0, 0);
}

bool WaylandLibrary::DamagesPixels(wl_surface* surface) const {
  return proxy_get_version(ProxyOf(surface)) >= WL_SURFACE_DAMAGE_BUFFER_SINCE_VERSION;
}

void WaylandLibrary::Damage(wl_surface* surface, uint32_t x, uint32_t y, uint32_t width, uint32_t height) const {
  wl_proxy* of = ProxyOf(surface);
  const uint32_t request = DamagesPixels(surface) ? WL_SURFACE_DAMAGE_BUFFER : WL_SURFACE_DAMAGE;
  proxy_marshal_flags(of, request, nullptr, proxy_get_version(of), 0, static_cast<int32_t>(x), static_cast<int32_t>(y),
                      static_cast<int32_t>(width), static_cast<int32_t>(height));
}

void WaylandLibrary::DamageAll(wl_surface* surface) const { Damage(surface, 0, 0, INT32_MAX, INT32_MAX); }

void WaylandLibrary::Commit(wl_surface* surface) const {
  wl_proxy* of = ProxyOf(surface);
  proxy_marshal_flags(of, WL_SURFACE_COMMIT, nullptr, proxy_get_version(of), 0);
}

void WaylandLibrary::DestroyBuffer(wl_buffer* made) const {
  if (made == nullptr) return;
  wl_proxy* of = ProxyOf(made);
  proxy_marshal_flags(of, WL_BUFFER_DESTROY, nullptr, proxy_get_version(of), WL_MARSHAL_FLAG_DESTROY);
}

}  // namespace vesper::client
