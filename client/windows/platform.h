// The platform headers of Vulkan without those of the window systems: Xlib's would bring macros such as None and Status, and
// nothing of this library but windows/ needs more than these names.
#pragma once

#include <vulkan/vulkan.h>

#include <cstdint>

// As <xcb/xcb.h>, <X11/Xlib.h> and <wayland-client.h> declare them; what differs would not compile together with theirs.
extern "C" {
struct xcb_connection_t;
using xcb_window_t = uint32_t;
using xcb_visualid_t = uint32_t;
using Display = struct _XDisplay;
using Window = unsigned long;
using VisualID = unsigned long;
struct wl_display;
struct wl_surface;
}

#include <vulkan/vulkan_wayland.h>
#include <vulkan/vulkan_xcb.h>
#include <vulkan/vulkan_xlib.h>
