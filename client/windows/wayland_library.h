// libwayland-client by name, loaded at the first call, and the requests that are made with it: what protocol headers make of
// them would need the library when ours is loaded.
#pragma once

#include <wayland-client.h>

#include <cstdint>

namespace vesper::client {

// One pointer for each function, named as in wl_NAME, and for each description of an interface.
struct WaylandLibrary {
#define VESPER_WAYLAND_FUNCTIONS(FUNCTION) \
  FUNCTION(display_get_error)              \
  FUNCTION(display_get_fd)                 \
  FUNCTION(display_create_queue)           \
  FUNCTION(display_roundtrip_queue)        \
  FUNCTION(display_prepare_read_queue)     \
  FUNCTION(display_cancel_read)            \
  FUNCTION(display_read_events)            \
  FUNCTION(display_dispatch_queue_pending) \
  FUNCTION(display_flush)                  \
  FUNCTION(event_queue_destroy)            \
  FUNCTION(proxy_create_wrapper)           \
  FUNCTION(proxy_wrapper_destroy)          \
  FUNCTION(proxy_set_queue)                \
  FUNCTION(proxy_marshal_flags)            \
  FUNCTION(proxy_add_listener)             \
  FUNCTION(proxy_destroy)                  \
  FUNCTION(proxy_get_version)
#define VESPER_WAYLAND_INTERFACES(INTERFACE) \
  INTERFACE(registry) INTERFACE(shm) INTERFACE(shm_pool) INTERFACE(buffer) INTERFACE(callback)
// NOLINTBEGIN(bugprone-macro-parentheses): they declare the name
#define VESPER_WAYLAND_POINTER(name) decltype(&::wl_##name) name = nullptr;
#define VESPER_WAYLAND_INTERFACE(name) const wl_interface* name = nullptr;
  // NOLINTEND(bugprone-macro-parentheses)
  VESPER_WAYLAND_FUNCTIONS(VESPER_WAYLAND_POINTER)
  VESPER_WAYLAND_INTERFACES(VESPER_WAYLAND_INTERFACE)
#undef VESPER_WAYLAND_POINTER
#undef VESPER_WAYLAND_INTERFACE

  // The proxies of such requests belong to the queue of the one that they are made of, and are nullptr without memory.
  wl_registry* GetRegistry(wl_display* display) const;
  wl_shm* BindShm(wl_registry* of, uint32_t name) const;
  wl_buffer* CreateBuffer(wl_shm* of, int memory, uint32_t width, uint32_t height, uint32_t format) const;
  wl_callback* Frame(wl_surface* surface) const;
  void Attach(wl_surface* surface, wl_buffer* attached) const;
  // Whether damage is told in pixels of the buffer, by which what changed can be named.
  bool DamagesPixels(wl_surface* surface) const;
  void Damage(wl_surface* surface, uint32_t x, uint32_t y, uint32_t width, uint32_t height) const;
  void DamageAll(wl_surface* surface) const;
  void Commit(wl_surface* surface) const;
  void DestroyBuffer(wl_buffer* made) const;

  // Any object of the protocol is a proxy.
  template <typename T>
  T* Wrapper(T* object, wl_event_queue* queue) const {
    auto* wrapper = static_cast<wl_proxy*>(proxy_create_wrapper(object));
    if (wrapper != nullptr) proxy_set_queue(wrapper, queue);
    return reinterpret_cast<T*>(wrapper);
  }
  template <typename T, typename L>
  void Listen(T* object, const L* listener, void* data) const {
    // The library takes tables of functions of any kind; it calls them as the interface says.
    using Table = void (**)();
    proxy_add_listener(reinterpret_cast<wl_proxy*>(object), reinterpret_cast<Table>(const_cast<L*>(listener)), data);
  }
  template <typename T>
  void Destroy(T* object) const {  // those without a request for it
    if (object != nullptr) proxy_destroy(reinterpret_cast<wl_proxy*>(object));
  }
  template <typename T>
  void DestroyWrapper(T* wrapper) const {
    if (wrapper != nullptr) proxy_wrapper_destroy(wrapper);
  }
};

// nullptr when the library is missing or older than 1.20, which one line on stderr says. Any thread.
const WaylandLibrary* Wayland() noexcept;

}  // namespace vesper::client
