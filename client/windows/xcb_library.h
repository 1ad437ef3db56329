// libxcb's functions by name, loaded at the first call: the library has no need of X until an application has a window.
#pragma once

#include <xcb/shm.h>
#include <xcb/xcb.h>

namespace vesper::client {

// One pointer for each function, named as in xcb_NAME.
struct XcbLibrary {
#define VESPER_XCB_FUNCTIONS(FUNCTION)                                                                        \
  FUNCTION(get_setup)                                                                                         \
  FUNCTION(get_file_descriptor)                                                                               \
  FUNCTION(connection_has_error)                                                                              \
  FUNCTION(generate_id)                                                                                       \
  FUNCTION(request_check)                                                                                     \
  FUNCTION(get_maximum_request_length)                                                                        \
  FUNCTION(get_extension_data)                                                                                \
  FUNCTION(get_geometry)                                                                                      \
  FUNCTION(get_geometry_reply)                                                                                \
  FUNCTION(get_window_attributes)                                                                             \
  FUNCTION(get_window_attributes_reply) FUNCTION(setup_roots_iterator) FUNCTION(screen_next)                  \
      FUNCTION(screen_allowed_depths_iterator) FUNCTION(depth_next) FUNCTION(depth_visuals)                   \
          FUNCTION(depth_visuals_length) FUNCTION(setup_pixmap_formats) FUNCTION(setup_pixmap_formats_length) \
              FUNCTION(create_gc_checked) FUNCTION(free_gc_checked) FUNCTION(put_image_checked)
#define VESPER_XCB_SHM_FUNCTIONS(FUNCTION) \
  FUNCTION(shm_query_version)              \
  FUNCTION(shm_query_version_reply)        \
  FUNCTION(shm_attach_fd_checked) FUNCTION(shm_detach_checked) FUNCTION(shm_put_image_checked)
// NOLINTNEXTLINE(bugprone-macro-parentheses): it declares the name
#define VESPER_XCB_POINTER(name) decltype(&::xcb_##name) name = nullptr;
  VESPER_XCB_FUNCTIONS(VESPER_XCB_POINTER)
  VESPER_XCB_SHM_FUNCTIONS(VESPER_XCB_POINTER)
#undef VESPER_XCB_POINTER
  xcb_extension_t* shm_id = nullptr;  // null, like its functions, without libxcb-shm
};

// nullptr when libxcb is missing, which one line on stderr says. Any thread.
const XcbLibrary* Xcb() noexcept;

}  // namespace vesper::client
