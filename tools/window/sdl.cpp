#include "tools/window/sdl.h"

#include <dlfcn.h>

#include <cstdint>
#include <stdexcept>

namespace vesper::tools::window {
namespace {

// As SDL_video.h, SDL_vulkan.h and SDL_events.h of SDL 2 have them.
constexpr uint32_t kInitVideo = 0x20, kVulkan = 0x10000000, kResizable = 0x20, kQuit = 0x100;
constexpr int kAnywhere = 0x1FFF0000;

struct Sdl {
  int (*init)(uint32_t);
  const char* (*error)();
  const char* (*driver)();
  void* (*create)(const char*, int, int, int, int, uint32_t);
  void (*destroy)(void*);
  void (*quit)();
  void (*pump)();
  int (*has)(uint32_t);
  int (*extensions)(void*, unsigned*, const char**);
  int (*surface)(void*, VkInstance, VkSurfaceKHR*);
  void (*size)(void*, int*, int*);
};

template <typename Function>
void Find(void* library, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(dlsym(library, name));
  if (*function == nullptr)
    throw std::runtime_error(std::string("libSDL2-2.0.so.0 has no ") + name + ": it is too old");
}

Sdl Load() {
  void* library = dlopen("libSDL2-2.0.so.0", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    throw std::runtime_error(std::string(dlerror()) + "; on Debian: apt install libsdl2-2.0-0");
  }
  Sdl sdl{};
  Find(library, "SDL_Init", &sdl.init);
  Find(library, "SDL_GetError", &sdl.error);
  Find(library, "SDL_GetCurrentVideoDriver", &sdl.driver);
  Find(library, "SDL_CreateWindow", &sdl.create);
  Find(library, "SDL_DestroyWindow", &sdl.destroy);
  Find(library, "SDL_Quit", &sdl.quit);
  Find(library, "SDL_PumpEvents", &sdl.pump);
  Find(library, "SDL_HasEvent", &sdl.has);
  Find(library, "SDL_Vulkan_GetInstanceExtensions", &sdl.extensions);
  Find(library, "SDL_Vulkan_CreateSurface", &sdl.surface);
  Find(library, "SDL_Vulkan_GetDrawableSize", &sdl.size);
  return sdl;
}

const Sdl& Library() {
  static const Sdl sdl = Load();
  return sdl;
}

[[noreturn]] void Fail(const char* what) { throw std::runtime_error(std::string(what) + ": " + Library().error()); }

}  // namespace

Window::Window(const std::string& title, uint32_t width, uint32_t height) {
  const Sdl& sdl = Library();
  if (sdl.init(kInitVideo) != 0) Fail("no display");
  system_ = sdl.driver();
  window_ = sdl.create(title.c_str(), kAnywhere, kAnywhere, static_cast<int>(width), static_cast<int>(height),
                       kVulkan | kResizable);
  if (window_ == nullptr) {
    const std::string why = sdl.error();
    sdl.quit();
    throw std::runtime_error("no window of " + system_ + ": " + why);
  }
}

Window::~Window() {
  Library().destroy(window_);
  Library().quit();
}

std::vector<const char*> Window::InstanceExtensions() const {
  unsigned count = 0;
  if (Library().extensions(window_, &count, nullptr) == 0) Fail("no surface extensions");
  std::vector<const char*> names(count);
  if (Library().extensions(window_, &count, names.data()) == 0) Fail("no surface extensions");
  return names;
}

VkSurfaceKHR Window::MakeSurface(VkInstance instance) const {
  VkSurfaceKHR surface = VK_NULL_HANDLE;
  if (Library().surface(window_, instance, &surface) == 0) Fail("no surface");
  return surface;
}

VkExtent2D Window::Size() const {
  int width = 0, height = 0;
  Library().size(window_, &width, &height);
  return {static_cast<uint32_t>(width), static_cast<uint32_t>(height)};
}

bool Window::StaysOpen() const {
  Library().pump();
  return Library().has(kQuit) == 0;
}

}  // namespace vesper::tools::window
