// A window on the user's screen, X or Wayland, by SDL 2, which is loaded by name when a window is wanted: `vesper` starts where it
// is missing.
#pragma once

#include <vulkan/vulkan.h>

#include <string>
#include <vector>

namespace vesper::tools::window {

class Window {
 public:
  // Throws std::runtime_error with a sentence: no SDL, no display.
  Window(const std::string& title, uint32_t width, uint32_t height);
  ~Window();
  Window(const Window&) = delete;
  Window& operator=(const Window&) = delete;

  const std::string& system() const { return system_; }  // x11 or wayland, as SDL calls them
  std::vector<const char*> InstanceExtensions() const;
  VkSurfaceKHR MakeSurface(VkInstance instance) const;
  VkExtent2D Size() const;
  // Handles what the window system has said. False when the user has closed the window.
  bool StaysOpen() const;

 private:
  void* window_ = nullptr;
  std::string system_;
};

}  // namespace vesper::tools::window
