#include "client/windows/xcb_library.h"

#include <dlfcn.h>

#include "client/base/log.h"
#include "client/windows/x11.h"

namespace vesper::client {
namespace {

template <typename Function>
bool Find(void* library, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(dlsym(library, name));
  return *function != nullptr;
}

// Libraries stay loaded: the application may have them too, and threads of ours may be inside.
bool Load(XcbLibrary* xcb) {
  void* library = dlopen("libxcb.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  bool found = library != nullptr;
#define VESPER_XCB_FIND(name) found = found && Find(library, "xcb_" #name, &xcb->name);
  VESPER_XCB_FUNCTIONS(VESPER_XCB_FIND)
  if (!found) {
    Log(LogLevel::kError, "windows of X need libxcb.so.1, which cannot be loaded: install libxcb1");
    return false;
  }
  library = dlopen("libxcb-shm.so.0", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  found = library != nullptr;
  VESPER_XCB_SHM_FUNCTIONS(VESPER_XCB_FIND)
#undef VESPER_XCB_FIND
  if (found) found = Find(library, "xcb_shm_id", &xcb->shm_id);
  if (!found) {
    xcb->shm_id = nullptr;
    Log(LogLevel::kInfo, "libxcb-shm.so.0 cannot be loaded: pictures travel to the X server through its socket");
  }
  return true;
}

}  // namespace

const XcbLibrary* Xcb() noexcept {
  static XcbLibrary library;
  static const bool loaded = Load(&library);
  return loaded ? &library : nullptr;
}

xcb_connection_t* ConnectionOf(Display* display) noexcept {
  using Function = xcb_connection_t* (*)(Display*);
  static Function const function = [] {
    void* library = dlopen("libX11-xcb.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    Function found = nullptr;
    if (library == nullptr || !Find(library, "XGetXCBConnection", &found)) {
      Log(LogLevel::kError, "windows of Xlib need libX11-xcb.so.1, which cannot be loaded: install libx11-xcb1");
    }
    return found;
  }();
  return function == nullptr ? nullptr : function(display);
}

}  // namespace vesper::client
