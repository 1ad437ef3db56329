// A Wayland compositor that shows nothing and remembers what it was told, for tests of windows: a thread with libwayland-server.
// What it does by itself, a test can forbid, so that it is the test that decides when.
#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

struct wl_client;
struct wl_display;
struct wl_event_source;
struct wl_resource;

namespace vesper::test {

class Compositor {
 public:
  // What one commit with a buffer has shown.
  struct Shown {
    uint32_t surface = 0;  // in the order of their creation, from 0
    uint32_t width = 0;
    uint32_t height = 0;
    uint32_t format = 0;  // a wl_shm_format
    struct Rectangle {
      int32_t x, y, width, height;
      bool operator==(const Rectangle&) const = default;
    };
    std::vector<Rectangle> damage;
    std::vector<uint32_t> pixels;
    uint32_t At(uint32_t x, uint32_t y) const { return pixels.at(size_t{y} * width + x); }
  };

  // Offers these formats beside the two that every compositor has. Throws when it cannot be made.
  explicit Compositor(const std::vector<uint32_t>& formats = {}, bool with_shm = true);
  ~Compositor();
  Compositor(const Compositor&) = delete;
  Compositor& operator=(const Compositor&) = delete;

  // A connection for wl_display_connect_to_fd.
  int Connect();

  // Whether frame callbacks are answered by themselves, and buffers released when another is shown; both are at first.
  void Answer(bool frames);
  void Release(bool buffers);
  // Answers all frame callbacks, releases all buffers but the newest of each surface, now.
  void AnswerNow();
  void ReleaseNow();
  // Ends all connections, by a protocol error on the first surface or without a word.
  void Refuse();
  void HangUp();

  // What was shown so far, and since Await(…, from).
  size_t count();
  Shown Get(size_t index);
  // Waits until so many commits were shown; false when that takes too long.
  bool Await(size_t count);
  // Buffers whose pixels had changed by the time that they were released, and those held now.
  size_t torn();
  size_t held();

 private:
  struct Surface;
  friend struct Handlers;
  void Do(const std::function<void()>& what);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Shown> shown_;
  size_t torn_ = 0;
  std::vector<const std::function<void()>*> wanted_;

  // The thread's alone, once it runs.
  bool answers_ = true;
  bool releases_ = true;
  std::vector<Surface*> surfaces_;  // in the order of their creation; nullptr: destroyed
  std::vector<wl_client*> clients_;
  wl_display* display_ = nullptr;
  int wake_ = -1;
  wl_event_source* wakes_ = nullptr;
  std::thread thread_;
};

}  // namespace vesper::test
