// The platform headers of Vulkan without those of the window systems: Xlib's would bring macros such as None and Status, and
// nothing of this library but wsi/x11.cpp needs more than these names.
#pragma once

#include <vulkan/vulkan.h>

#include <cstdint>

// As <xcb/xcb.h> and <X11/Xlib.h> declare them; a declaration that differs would not compile together with theirs.
extern "C" {
struct xcb_connection_t;
using xcb_window_t = uint32_t;
using xcb_visualid_t = uint32_t;
using Display = struct _XDisplay;
using Window = unsigned long;
using VisualID = unsigned long;
}

#include <vulkan/vulkan_xcb.h>
#include <vulkan/vulkan_xlib.h>
