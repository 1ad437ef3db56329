// The platform headers of Vulkan without those of the window systems: Xlib's would bring macros such as None and Status, and
// nothing of this library but wsi/x11.cpp needs more than these names.
#pragma once

#include <vulkan/vulkan.h>

#include <cstdint>

// As <xcb/xcb.h> and <X11/Xlib.h> declare them; a declaration that differs would not compile together with theirs.
extern "C" {
typedef struct xcb_connection_t xcb_connection_t;
typedef uint32_t xcb_window_t;
typedef uint32_t xcb_visualid_t;
typedef struct _XDisplay Display;
typedef unsigned long Window;
typedef unsigned long VisualID;
}

#include <vulkan/vulkan_xcb.h>
#include <vulkan/vulkan_xlib.h>
